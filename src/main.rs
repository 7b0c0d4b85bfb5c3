//! The `fedmsg` command.

fn main() -> std::process::ExitCode {
    fedmsg::cli::main()
}
