//! The client against real sockets on loopback.

#[cfg(test)]
mod body;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod timeout;
