//! Golden files and recorded traffic through the public interface of the crate.

mod check;
mod golden;
mod ids;
mod replay;
mod run;
mod turns;
