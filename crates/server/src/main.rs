//! The binary `portunus`.

fn main() -> std::process::ExitCode {
    portunus::cli::main()
}
