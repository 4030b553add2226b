//! `pelago`: the one binary.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(pelago::run())
}
