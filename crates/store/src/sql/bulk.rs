//! Many rows with few statements: a call of the driver costs more than a row.

use super::driver::{Arguments, Connection, failed, mark};
use crate::error::StoreError;

/// Rows of one statement; of each size one text is kept prepared.
pub(crate) const ROWS: [usize; 5] = [16, 8, 4, 2, 1];

/// The texts for each number of [`ROWS`].
pub(crate) type Texts = [String; ROWS.len()];

/// The text that inserts so many rows at once. `into` (`INSERT INTO …`) begins it; `names` become
/// part of it.
pub(crate) fn insert_text(into: &str, names: &[&str], rows: usize) -> String {
    let row = |row: usize| {
        let first = row * names.len() + 1;
        let marks: Vec<_> = (first..first + names.len()).map(mark).collect();
        format!("({})", marks.join(", "))
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    let names = names.join("\", \"");
    format!("{into} (\"{names}\") VALUES {}", rows.join(", "))
}

/// Inserts rows with the fewest statements. `what` names the kind of row in an error.
pub(super) async fn insert_all<T>(
    connection: &mut Connection,
    texts: &'static Texts,
    mut rows: &[T],
    bind: impl Fn(&T, &mut Arguments) -> Result<(), StoreError>,
    what: &'static str,
) -> Result<(), StoreError> {
    for (size, text) in ROWS.into_iter().zip(texts) {
        while let Some((now, later)) = rows.split_at_checked(size) {
            let mut arguments = Arguments::default();
            for row in now {
                bind(row, &mut arguments)?;
            }
            sqlx::query_with(text.as_str(), arguments)
                .execute(&mut *connection)
                .await
                .map_err(failed(what))?;
            rows = later;
        }
    }
    Ok(())
}
