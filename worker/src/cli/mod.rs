//! The command line.

mod age;
mod artifacts;
mod audit;
mod batch;
mod bench;
mod delete;
mod doctor;
mod evaluation;
mod exit;
mod explain;
mod exporter;
mod files;
pub mod flags;
mod fleet;
mod follow;
mod grade;
#[cfg(test)]
mod hostile_text;
mod images;
mod input;
mod job;
mod jobs;
mod languages;
pub mod latency;
mod line;
mod log;
mod log_writer;
mod output_directory;
mod package;
mod print;
mod quantity;
mod queue;
mod report;
mod result;
mod run;
mod scope;
mod setup;
mod show;
mod submit;
mod submit_jobs;
mod switches;
mod table;
mod terminal;
mod tools;
mod top;
mod trace;
mod usage;
mod waiting;
mod worker;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Settings;
use exit::Exit;
use log::{log_in_background, log_to_stderr};

/// Runs untrusted code, each program in its own container.
#[derive(Parser)]
#[command(name = "sandfleet", version, max_term_width = 100)]
struct CommandLine {
    /// The configuration file; SANDFLEET_* variables win over it [default:
    /// /etc/sandfleet/sandfleet.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one program here, or a batch of jobs, with no service at all
    Run(run::Arguments),
    /// Grade submissions by a problem package of Kattis' format, here or on the fleet
    Grade(grade::Arguments),
    /// Take jobs from the broker until told to stop
    Worker(worker::Arguments),
    /// Export the fleet's metrics: queues, live workers, the store
    Exporter(exporter::Arguments),
    /// Submit a job to the fleet
    Submit(submit::Arguments),
    /// Show results of jobs, or their states
    Result(result::Arguments),
    /// Cancel jobs, queued or running
    Cancel(fleet::CancelArguments),
    /// Hold jobs back in the whole fleet; they wait
    Hold(switches::HoldArguments),
    /// Let jobs go on that were held back
    Release(switches::ReleaseArguments),
    /// Have all workers take no more jobs
    Drain(switches::DrainArguments),
    /// End what runs now in the whole fleet
    Kill(switches::KillArguments),
    /// Make the fleet's queues, where only an operator's user may
    Setup(setup::Arguments),
    /// Show who did what: submitted, cancelled, threw switches, started workers
    Audit(audit::Arguments),
    /// Delete results, records and output of jobs before their time is over
    Delete(delete::Arguments),
    /// Show what tenants used in a day
    Usage(usage::Arguments),
    /// List live workers
    Workers(fleet::WorkersArguments),
    /// List jobs that ended lately: what failed, where, and how long it took
    Jobs(jobs::Arguments),
    /// Show queues, dead letters and unreadable messages; requeue or drop these
    Queue(queue::Arguments),
    /// Watch the fleet: workers, queues, tenants and jobs, on a screen that keeps up
    Top(top::Arguments),
    /// List the languages of the sandbox, their versions, and how to get those that are not there
    Languages(languages::Arguments),
    /// Build the root trees that programs see, and hand them to Docker
    Images(images::Arguments),
    /// Load the fleet at a steady rate and show how long jobs take
    Bench(bench::Arguments),
    /// Check every barrier and service this host needs, and say how to fix what is missing
    Doctor(doctor::Arguments),
    /// Print the version, and with --json what else a machine asks of a binary
    Version(package::VersionArguments),
    /// Print a shell's completions of this command line
    Completions(package::CompletionsArguments),
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man(package::ManArguments),
    /// Write the agent's binary to a file, for an image of your own
    #[command(hide = true)]
    Agent(tools::AgentArguments),
    /// Print a reference page that is generated from the code
    #[command(hide = true)]
    Docs(tools::DocsArguments),
}

impl Command {
    const fn reads_no_settings(&self) -> bool {
        matches!(
            self,
            Self::Agent(_) | Self::Docs(_) | Self::Version(_) | Self::Completions(_) | Self::Man(_)
        )
    }
}

/// Parses the command line, runs the command and returns the exit code.
pub fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            if error.use_stderr() {
                // It quotes the arguments, which may come from elsewhere if a script passes them on.
                terminal::say_lines(&error.render().to_string());
                return Exit::Usage.into();
            }
            // `--help` and `--version` succeed, even if stdout can't be written to.
            let _ = error.print();
            return Exit::Success.into();
        }
    };
    match dispatch(line) {
        Ok(code) => code,
        Err(failure) => {
            // A reader that has seen enough (`| head`) is no mistake.
            if failure.exit != Exit::ClosedPipe {
                terminal::say_lines(&terminal::failure_text(&failure));
            }
            failure.exit.into()
        }
    }
}

fn dispatch(line: CommandLine) -> Result<ExitCode, exit::Failure> {
    if line.config.is_some() && line.command.reads_no_settings() {
        return Err(Exit::Usage.with("--config: this command reads no settings; leave it out"));
    }
    match line.command {
        Command::Agent(arguments) => return tools::write_agent(&arguments),
        Command::Docs(arguments) => return tools::print_reference(&arguments),
        Command::Version(arguments) => return package::print_version(&arguments),
        Command::Completions(arguments) => {
            return package::print_completions(&arguments, CommandLine::command());
        }
        Command::Man(arguments) => {
            return package::write_man_pages(&arguments, CommandLine::command());
        }
        _ => {}
    }
    let settings = Settings::load(line.config.as_deref(), std::env::vars_os())
        .map_err(|error| Exit::Usage.because(error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::Internal.because(error))?;
    // What a process that serves has logged is written before its end.
    let mut log = None;
    let ended = runtime.block_on(async {
        match line.command {
            Command::Run(arguments) => {
                log_to_stderr(&settings, "warn");
                run::run(arguments, &settings).await
            }
            Command::Grade(arguments) => {
                log_to_stderr(&settings, "warn");
                grade::run(arguments, &settings).await
            }
            Command::Worker(arguments) => {
                log = log_in_background(&settings);
                worker::run(arguments, &settings).await
            }
            Command::Exporter(arguments) => {
                log = log_in_background(&settings);
                exporter::run(arguments, &settings).await
            }
            Command::Submit(arguments) => {
                log_to_stderr(&settings, "warn");
                submit::run(arguments, &settings).await
            }
            Command::Result(arguments) => {
                log_to_stderr(&settings, "warn");
                result::run(arguments, &settings).await
            }
            Command::Cancel(arguments) => {
                log_to_stderr(&settings, "warn");
                fleet::cancel(arguments, &settings).await
            }
            Command::Workers(arguments) => {
                log_to_stderr(&settings, "warn");
                fleet::workers(arguments, &settings).await
            }
            Command::Jobs(arguments) => {
                log_to_stderr(&settings, "warn");
                jobs::run(arguments, &settings).await
            }
            Command::Queue(arguments) => {
                log_to_stderr(&settings, "warn");
                queue::run(arguments, &settings).await
            }
            Command::Top(arguments) => {
                // What is logged would be drawn over.
                log_to_stderr(&settings, "off");
                top::run(arguments, &settings).await
            }
            Command::Languages(arguments) => {
                log_to_stderr(&settings, "warn");
                languages::run(arguments, &settings).await
            }
            Command::Images(arguments) => {
                log_to_stderr(&settings, "warn");
                images::run(arguments, &settings).await
            }
            Command::Hold(arguments) => {
                log_to_stderr(&settings, "warn");
                switches::hold(arguments, &settings).await
            }
            Command::Release(arguments) => {
                log_to_stderr(&settings, "warn");
                switches::release(arguments, &settings).await
            }
            Command::Drain(arguments) => {
                log_to_stderr(&settings, "warn");
                switches::drain(arguments, &settings).await
            }
            Command::Kill(arguments) => {
                log_to_stderr(&settings, "warn");
                switches::kill(arguments, &settings).await
            }
            Command::Audit(arguments) => {
                log_to_stderr(&settings, "warn");
                audit::run(arguments, &settings).await
            }
            Command::Usage(arguments) => {
                log_to_stderr(&settings, "warn");
                usage::run(arguments, &settings).await
            }
            Command::Delete(arguments) => {
                log_to_stderr(&settings, "warn");
                delete::run(arguments, &settings).await
            }
            Command::Setup(arguments) => {
                log_to_stderr(&settings, "warn");
                setup::run(arguments, &settings).await
            }
            Command::Bench(arguments) => {
                log_to_stderr(&settings, "warn");
                bench::run(arguments, &settings).await
            }
            Command::Doctor(arguments) => {
                log_to_stderr(&settings, "error");
                doctor::run(arguments, &settings).await
            }
            Command::Agent(_)
            | Command::Docs(_)
            | Command::Version(_)
            | Command::Completions(_)
            | Command::Man(_) => Ok(ExitCode::SUCCESS),
        }
    });
    // A blocking read of stdin can't be cancelled, so the runtime isn't waited for any longer.
    runtime.shutdown_timeout(Duration::from_millis(100));
    drop(log);
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_help_has_a_page() {
        let tree = CommandLine::command();
        let mut names = Vec::new();
        for command in tree.get_subcommands().filter(|it| !it.is_hide_set()) {
            let name = format!("sandfleet-{}", command.get_name());
            let below = command.get_subcommands().map(|it| format!("{name}-{}.1", it.get_name()));
            names.push(format!("{name}.1"));
            names.extend(below);
        }
        let pages = package::pages(tree.clone());
        let pages: Vec<_> = pages.iter().map(clap_mangen::Man::get_filename).collect();
        assert_eq!(pages[0], "sandfleet.1");
        assert_eq!(pages[1..], names);
        assert!(names.len() > 10, "{names:?}");
    }
}
