//! A routing config, as a caller sends it in a header.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| portunus_gateway::fuzz_config(text));
