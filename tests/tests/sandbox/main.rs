//! What every sandbox promises: one suite, run by each backend.

mod ahead;
mod artifacts;
mod bench;
mod bounds;
mod conformance;
mod engine;
mod input;
mod isolation;
mod late;
mod lifetime;
mod limits;
mod machine;
mod memory;
mod output;
mod pool;
mod printing;
mod stuck;
mod zygote;

macro_rules! claims {
    ($sandbox:ident: $($file:ident: $($claim:ident)+;)+) => {
        $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $claim() {
            crate::bench::$sandbox(async |sandbox| crate::$file::$claim(sandbox).await).await
        })+)+
    };
}

macro_rules! suite {
    (everywhere { $($everywhere:tt)+ } on_linux { $($on_linux:tt)+ }) => {
        mod native {
            claims! { native: $($everywhere)+ $($on_linux)+ }
        }
        mod warm {
            claims! { warm: $($everywhere)+ $($on_linux)+ }
        }
        mod docker {
            claims! { docker: $($everywhere)+ $($on_linux)+ }
        }
        // Run with the hostile programs: everything takes its time there.
        mod gvisor {
            claims! { gvisor: $($everywhere)+ }
        }
    };
}

suite! {
    everywhere {
        input:
            the_exit_code_is_the_programs
            exit_137_is_no_want_of_memory
            a_signal_is_named
            a_program_that_kills_itself_did_not_want_for_memory
            stdin_arrives_whole
            without_stdin_there_is_nothing_to_read
            arguments_and_variables_arrive_as_they_are
            no_signal_is_blocked_or_ignored
            nothing_of_the_workers_environment_arrives
            files_are_there_when_the_program_starts
            what_was_once_compiled_is_used;
        output:
            both_streams_are_apart_and_in_order
            output_is_seen_while_the_program_runs
            output_is_cut_at_the_cap_and_the_end_of_stderr_kept
            output_as_long_as_the_cap_is_whole
            output_that_is_no_text_comes_back_whole
            a_flood_is_ended
            a_job_that_wants_it_is_ended_at_its_output_limit;
        printing:
            what_was_printed_before_a_kill_is_in_the_result
            many_lines_come_whole_and_in_order
            a_printer_that_is_killed_lost_and_repeated_nothing
            lines_keep_their_order_among_processes
            a_forked_child_repeats_nothing_and_loses_nothing
            what_is_redirected_goes_there
            the_job_may_ask_for_no_buffer
            a_flood_of_lines_is_ended
            rubbish_in_the_buffer_spoils_only_the_programs_own_output;
        artifacts:
            matching_files_come_back_intact
            inputs_come_back_only_when_changed
            inputs_are_as_old_as_the_job
            an_input_that_is_rewritten_at_once_with_the_same_size_is_an_artifact
            what_is_no_plain_file_is_refused_with_a_sentence
            a_directory_that_is_asked_for_by_name_is_refused_with_a_sentence
            more_bytes_than_agreed_are_refused
            more_files_than_agreed_are_refused
            artifacts_come_back_from_a_program_that_was_ended;
        limits:
            cpu_time_is_that_of_all_processes
            cpu_time_is_no_more_than_the_processors_give
            a_full_scratch_space_refuses_more
            open_files_are_bounded
            no_limit_can_be_raised_from_inside;
        memory:
            a_process_that_wants_too_much_memory_ends_the_job
            a_child_that_wants_too_much_memory_ends_the_job
            scratch_files_count_as_memory
            shared_memory_counts_as_memory
            the_peak_is_the_jobs_own;
        isolation:
            only_the_scratch_space_can_be_written
            no_process_of_others_is_visible
            the_host_has_no_name
            no_namespace_can_be_made_and_nothing_mounted
            no_secret_of_the_host_can_be_read;
        lifetime:
            daemons_end_with_the_program
            a_dropped_run_leaves_the_sandbox_usable
            jobs_in_a_row_see_nothing_of_each_other
            jobs_at_a_time_see_nothing_of_each_other;
    }
    // What is done by Linux itself, or seen from the host. gVisor's kernel is another: it knows no
    // capabilities in /proc, names other errors, and keeps its processes from the host's sight.
    on_linux {
        printing:
            a_line_is_passed_on_within_100_ms
            stdout_is_the_one_that_an_interpreter_has_by_itself;
        machine:
            every_count_of_processors_agrees
            a_terminal_can_be_opened
            links_below_usr_lead_somewhere;
        bounds:
            what_refuses_something_is_named
            a_program_may_raise_its_own_limits
            shared_memory_is_as_large_as_memory;
        limits:
            a_program_that_ignores_everything_ends_at_the_wall_limit
            processes_beyond_the_limit_are_refused_and_flagged
            threads_count_as_processes
            the_number_of_scratch_files_is_bounded;
        isolation:
            there_is_no_network_but_the_loopback
            the_program_is_nobody
            concurrent_programs_are_different_users_of_the_host
            the_first_process_can_not_be_read_or_ended;
        lifetime:
            a_dropped_run_ends_the_program;
    }
}
