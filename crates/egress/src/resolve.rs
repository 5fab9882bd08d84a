//! DNS through the guard: every answer is judged, and only judged addresses are dialled.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::connect::current_target;
use crate::guard::{Forbidden, Rules, Target};

type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Turns a name into addresses; the system's resolver outside tests.
pub(crate) type Lookup = Arc<dyn Fn(String) -> Looking + Send + Sync>;

/// The system's resolver.
pub(crate) fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// The resolver of one zone. There is no second lookup between the verdict and the dial, so that
/// a name cannot change its mind.
pub(crate) struct GuardedResolver {
    pub(crate) rules: Arc<Rules>,
    pub(crate) lookup: Lookup,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = Arc::clone(&self.rules);
        let lookup = Arc::clone(&self.lookup);
        let target = expected(name.as_str());
        Box::pin(async move {
            let target = target?;
            let found = answers(&rules, &target, name, lookup).await?;
            let dial = found
                .into_iter()
                .map(move |address| SocketAddr::new(address, target.port));
            Ok(Box::new(dial) as Addrs)
        })
    }
}

/// The target of the call at hand. A lookup for anything else has no verdict and is refused.
fn expected(name: &str) -> Result<Target, Forbidden> {
    let fits = |target: &Target| target.host.to_string().eq_ignore_ascii_case(name);
    current_target().filter(fits).ok_or_else(|| {
        Forbidden::new(
            "unexpected_name",
            "the name belongs to no call of the gateway.".to_owned(),
        )
    })
}

async fn answers(
    rules: &Rules,
    target: &Target,
    name: Name,
    lookup: Lookup,
) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
    if target.is_localhost() {
        return Ok(rules.loopbacks(target)?);
    }
    let found = lookup(name.as_str().to_owned()).await?;
    if found.is_empty() {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    }
    rules.check_answers(target, &found)?;
    Ok(found)
}
