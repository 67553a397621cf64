//! What somebody might try, and what stands against it.

use super::Row;

pub const ROWS: &[Row] = &[
    Row {
        id: "T1",
        what: "a web page whose name was rebound to this machine",
        expected: "only our own names are answered, on every route",
        tests: &["security::every_route_turns_strangers_away"],
        without: &[("host-allow-list", "security::every_route_turns_strangers_away")],
    },
    Row {
        id: "T2",
        what: "requests and streams that another page makes",
        expected: "the origin must be ours, port included, and the browser must say so",
        tests: &["security::every_route_turns_strangers_away"],
        without: &[
            ("origin-check", "security::every_route_turns_strangers_away"),
            ("fetch-site-check", "security::every_route_turns_strangers_away"),
        ],
    },
    Row {
        id: "T3",
        what: "a page that a handler returns reaches for the console",
        expected: "two origins, no cookies, a policy that lets nothing in",
        tests: &["console::pages_are_compressed_known_again_and_protected"],
        without: &[("headers-of-pages", "console::pages_are_compressed_known_again_and_protected")],
    },
    Row {
        id: "T4",
        what: "scripts in logs, names, events and variables",
        expected: "they are text: no source makes markup of them, and no policy lets a script in",
        tests: &["console::the_console_writes_text_only", "console_browser::names_logs_and_events_are_text"],
        without: &[("headers-of-pages", "console::pages_are_compressed_known_again_and_protected")],
    },
    Row {
        id: "T5",
        what: "reached from other machines by mistake",
        expected: "refuses to start without credentials and encryption",
        tests: &["security::other_machines_need_credentials_and_encryption"],
        without: &[("open-doors", "security::other_machines_need_credentials_and_encryption")],
    },
    Row {
        id: "T6",
        what: "another user of the machine, or a handler, looks for keys of the control plane",
        expected: "the state folder is closed to both; a function has keys of its own and no others",
        tests: &[
            "security::functions_have_keys_of_their_own_and_no_others",
            "containment::other_users_read_nothing_of_the_state_folder",
            "environment::variables_and_context",
        ],
        without: &[
            ("private-state-folder", "containment::other_users_read_nothing_of_the_state_folder"),
            ("clean-environment", "environment::variables_and_context"),
            ("landlock", "isolation::a_handler_does_not_get_out"),
        ],
    },
    Row {
        id: "T7",
        what: "paths that lead out of a folder",
        expected: "no path, link or exchange of folders does",
        tests: &[
            "console::no_path_leads_out",
            "attacks::a_path_does_not_leave_the_folder_that_it_is_sent_to",
        ],
        without: &[("paths-stay-inside", "console::no_path_leads_out")],
    },
    Row {
        id: "T8",
        what: "archives that are too large, or unpack elsewhere",
        expected: "refused before anything is there",
        tests: &["lib archive::unpack::tests::what_attackers_send_is_refused"],
        without: &[("paths-of-archives", "lib archive::unpack::tests::what_attackers_send_is_refused")],
    },
    Row {
        id: "T9",
        what: "absurd YAML and JSON",
        expected: "bounded in depth and size, before it is used",
        tests: &[
            "lib deployment::yaml::tests::refuses_a_little_too_much",
            "lib deployment::yaml::tests::refuses_what_is_absurd",
        ],
        without: &[
            ("aliases-of-yaml", "lib deployment::yaml::tests::refuses_a_little_too_much"),
            ("depth-of-yaml", "lib deployment::yaml::tests::refuses_a_little_too_much"),
        ],
    },
    Row {
        id: "T10",
        what: "forged lines and control characters in logs",
        expected: "shown as what they are; each line belongs to its request",
        tests: &["monitoring::log_records_are_found_by_what_they_are"],
        without: &[("escaped-output", "monitoring::log_records_are_found_by_what_they_are")],
    },
    Row {
        id: "T11",
        what: "secrets in logs, errors and answers",
        expected: "they stay where they are",
        tests: &[
            "lib destination::tests::passwords_are_not_shown",
            "security::secrets_of_functions_stay_where_they_are",
        ],
        without: &[("passwords-not-shown", "lib destination::tests::passwords_are_not_shown")],
    },
    Row {
        id: "T12",
        what: "strangers on the control plane",
        expected: "401 on every route that is not open, and nothing beyond one's scope",
        tests: &["security::every_route_turns_strangers_away"],
        without: &[
            ("credentials", "security::every_route_turns_strangers_away"),
            ("scopes", "security::every_route_turns_strangers_away"),
        ],
    },
    Row {
        id: "T13",
        what: "forged signatures and tokens",
        expected: "refused: the signature, its time, its body, its algorithm",
        tests: &[
            "lib gateway::authorize::jwt::tests::a_key_for_another_algorithm_is_not_used",
            "lib control_plane::tampered::what_was_recorded_cannot_be_sent_again_later",
            "lib control_plane::tampered::whatever_was_changed_is_refused",
            "security::boto3_and_the_cli_sign_and_are_believed",
        ],
        without: &[
            ("signature", "security::boto3_and_the_cli_sign_and_are_believed"),
            ("signature", "lib control_plane::tampered::whatever_was_changed_is_refused"),
            (
                "age-of-signatures",
                "lib control_plane::tampered::what_was_recorded_cannot_be_sent_again_later",
            ),
            (
                "algorithm-of-keys",
                "lib gateway::authorize::jwt::tests::a_key_for_another_algorithm_is_not_used",
            ),
        ],
    },
    Row {
        id: "T14",
        what: "clients that are slow on purpose, or many",
        expected: "deadlines for the first byte, the header, the pace of bodies and answers, and idleness; so many connections in all and from one address; 503 for who is one too many",
        tests: &[
            "client_faults::a_silent_client_is_closed",
            "client_faults::a_header_without_an_end_is_closed",
            "client_faults::a_body_that_does_not_come_is_closed",
            "client_faults::an_answer_that_nobody_takes_is_given_up",
            "client_faults::a_connection_that_rests_too_long_is_closed",
            "crowds::one_too_many_is_told_so_at_once",
            "crowds::one_address_has_its_share",
            "crowds::ten_thousand_idle_connections_and_others",
        ],
        without: &[
            ("first-byte-deadline", "client_faults::a_silent_client_is_closed"),
            ("header-deadline", "client_faults::a_header_without_an_end_is_closed"),
            ("body-rate", "client_faults::a_body_that_does_not_come_is_closed"),
            ("write-stall-deadline", "client_faults::an_answer_that_nobody_takes_is_given_up"),
            ("idle-deadline", "client_faults::a_connection_that_rests_too_long_is_closed"),
            ("connection-cap", "crowds::one_too_many_is_told_so_at_once"),
        ],
    },
    Row {
        id: "T15",
        what: "requests hidden in others, behind a proxy",
        expected: "what can be understood in two ways is refused, and nothing behind it is read",
        tests: &[
            "hostile_clients::what_can_be_understood_in_two_ways_is_refused",
            "client_faults::a_length_is_said_in_one_way",
            "client_faults::lines_end_with_both_characters",
            "client_faults::the_target_names_the_same_host",
        ],
        without: &[
            ("length-and-chunked-check", "client_faults::a_length_is_said_in_one_way"),
            ("bare-line-feed-check", "client_faults::lines_end_with_both_characters"),
            ("target-check", "client_faults::the_target_names_the_same_host"),
        ],
    },
    Row {
        id: "T16",
        what: "floods of HTTP/2: resets, continuations, pings, settings, headers that unpack to megabytes",
        expected: "ended within a second; less than 32 MiB of memory; others do not notice",
        tests: &[
            "http2_floods::floods_end_and_others_do_not_notice",
            "http2_floods::a_header_that_unpacks_to_megabytes_is_refused",
        ],
        without: &[
            ("reset-cap", "http2_floods::streams_that_are_reset_at_once_come_to_an_end"),
            ("frame-flood", "http2_floods::pings_come_to_an_end"),
        ],
    },
    Row {
        id: "T17",
        what: "forged X-Forwarded headers",
        expected: "only proxies that are named are believed",
        tests: &["security::only_named_proxies_speak_for_the_client"],
        without: &[("trusted-proxies", "security::only_named_proxies_speak_for_the_client")],
    },
    Row {
        id: "T18",
        what: "a handler reaches for the gateway, its neighbours, its own code, or more rights",
        expected: "files, processes, signals and system calls are closed to it",
        tests: &[
            "isolation::a_handler_does_not_get_out",
            "isolation::an_ordinary_users_handler_does_not_get_out_either",
            "isolation::without_isolation_it_does",
        ],
        without: &[
            ("landlock", "isolation::a_handler_does_not_get_out"),
            ("seccomp", "isolation::a_handler_does_not_get_out"),
            ("no-new-privileges", "isolation::without_isolation_it_does"),
        ],
    },
    Row {
        id: "T19",
        what: "a handler writes answers to questions of others, or spoils what the next invocation finds",
        expected: "one answer for each invocation, by its number; no environment serves two functions",
        tests: &[
            "faults::mischief_that_still_answers",
            "environment_faults::an_answer_to_nobodys_question_is_not_believed",
            "environment::modules_are_each_functions_own",
        ],
        without: &[(
            "answers-by-number",
            "environment_faults::an_answer_to_nobodys_question_is_not_believed",
        )],
    },
    Row {
        id: "T20",
        what: "the gateway is made to fetch",
        expected: "code comes from nowhere but this machine and named buckets; metadata services are never asked; integrations do not follow redirects",
        tests: &[
            "lib egress::tests::a_name_that_leads_there_is_refused_whatever_else_it_leads_to",
            "lib egress::tests::addresses_of_metadata_services_are_known_however_they_are_written",
            "attacks::the_metadata_service_is_not_asked",
            "attacks::redirects_of_other_servers_are_not_followed",
        ],
        without: &[("metadata-addresses", "attacks::the_metadata_service_is_not_asked")],
    },
    Row {
        id: "T21",
        what: "a function that invokes itself, fails without end, or prints without end",
        expected: "the seventeenth time in a chain is refused; failing events do not hold up those of others; output is cut, and says how much is missing",
        tests: &[
            "asynchronous::a_chain_that_is_too_long_is_refused_by_name",
            "asynchronous::a_function_that_invokes_itself_is_stopped_at_the_seventeenth_time",
            "asynchronous::a_backlog_of_failures_does_not_slow_others_down",
            "faults::a_hundred_megabytes_of_output",
        ],
        without: &[
            ("recursion-depth", "asynchronous::a_chain_that_is_too_long_is_refused_by_name"),
            ("output-limit", "faults::a_hundred_megabytes_of_output"),
        ],
    },
    Row {
        id: "T22",
        what: "nobody knows who has changed code",
        expected: "each change has a line, chained by hashes",
        tests: &["security::a_changed_byte_of_the_audit_log_is_named"],
        without: &[("audit-hash", "security::a_changed_byte_of_the_audit_log_is_named")],
    },
    Row {
        id: "T23",
        what: "plain HTTP from other machines",
        expected: "refused unless a proxy does it",
        tests: &["security::other_machines_need_credentials_and_encryption"],
        without: &[("open-doors", "security::other_machines_need_credentials_and_encryption")],
    },
    Row {
        id: "T24",
        what: "what the program is built of is not what it seems",
        expected: "each crate and npm package is pinned to one version and its checksum, from one registry, under a \
                   licence that was looked at; a build fetches nothing of its own",
        tests: &[
            "supply_chain::each_crate_is_pinned_and_from_the_registry",
            "supply_chain::a_crate_from_elsewhere_is_found",
            "supply_chain::each_npm_package_is_pinned_and_from_the_registry",
            "supply_chain::each_part_has_a_licence_that_was_looked_at",
            "supply_chain::the_lock_file_is_complete_and_scripts_fetch_nothing",
        ],
        without: &[],
    },
];
