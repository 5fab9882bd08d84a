//! The process: settings, the HTTP front, the admin plane, the command line.
//!
//! This crate is the only one that knows axum and clap. It turns HTTP into a
//! [`portunus_gateway::Call`] and a reply back into HTTP, keeps the keys' API, and starts
//! and ends the process. It holds no rule about models, providers or tools.
//!
//! Read in this order: [`router`] (every route on one screen), [`auth`], [`api`], [`admin`],
//! [`app`] (how the parts are put together), [`server`] (connections and shutdown).

pub mod admin;
pub mod answer;
pub mod api;
pub mod app;
pub mod auth;
pub mod body;
pub mod cli;
mod connection;
pub mod console;
pub mod demo;
pub mod dump;
pub mod examine;
pub mod exporting;
pub mod files;
pub mod first_start;
pub mod health;
pub mod in_use;
pub mod live;
pub mod local;
pub mod marks;
pub mod metrics;
mod pace;
pub mod reload;
pub mod rotation;
pub mod router;
pub mod server;
pub mod settings;
pub mod signals;
pub mod telemetry;
pub mod tls;
pub mod upkeep;
mod wire;
