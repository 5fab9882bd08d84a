//! The fake provider as a process: `fake-provider [ADDRESS:PORT]`, by default on a free port.
//! Prints `ready http://ADDRESS:PORT` and serves until its standard input ends or it is killed.

use std::io::Write as _;

use portunus_testkit::FakeProvider;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let provider = match std::env::args().nth(1) {
        Some(address) => FakeProvider::start_on(address.parse()?).await?,
        None => FakeProvider::start().await?,
    };
    writeln!(std::io::stdout(), "ready http://{}", provider.address())?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await??;
    Ok(())
}
