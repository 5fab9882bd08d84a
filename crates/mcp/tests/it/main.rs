//! The client against a server that misbehaves on purpose, one mode per test. The modes are
//! those that were met in real servers; real servers themselves are in `real`.

#[cfg(test)]
mod cancel;
#[cfg(test)]
mod common;
#[cfg(test)]
mod eras;
#[cfg(test)]
mod event_streams;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod modern;
#[cfg(test)]
mod real;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod sharing;
