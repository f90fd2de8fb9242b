//! The tests beside this file that make sense on either engine, once more with bonds on the kernel's driver: all of them
//! in one user-mode Linux, whose kernel has the driver and no BPF.
//!
//! Not here: what only our own engine can (drain, fallbacks, weights, the next packet leaving a dead link, a daemon stood
//! in for, its counters), what measures loss, what would take minutes there without saying more (a daemon killed at every
//! one of thirty steps), and what hangs on a fifth of a second (the ARP monitor at its usual test interval).

use std::time::Duration;

use oxbond_lab::uml::Uml;

use crate::common::ENGINE_VARIABLE;

/// For all of them together.
const PATIENCE: Duration = Duration::from_secs(900);

/// At a time: they wait more than they work.
const THREADS: &str = "--test-threads=4";

/// Each by its full name, so that one that is renamed is missed.
const TESTS: &[&str] = &[
    "addresses::root_a_trial_that_is_not_confirmed_gives_up_its_lease_and_its_names",
    "addresses::root_name_servers_of_a_file_are_written_and_go_with_it",
    "administration::root_a_name_and_a_port_in_a_bond_are_in_use",
    "administration::root_a_port_that_cannot_be_one_is_refused_and_nothing_changes",
    "administration::root_a_port_that_vanishes_comes_back_by_itself",
    "administration::root_a_second_daemon_and_a_missing_one_are_told_apart",
    "administration::root_deleting_the_bond_behind_our_back_gives_the_ports_back",
    "administration::root_down_gives_the_ports_back_as_they_were",
    "administration::root_files_are_applied_once_and_then_change_nothing",
    "administration::root_options_change_as_a_whole_or_not_at_all",
    "administration::root_port_options_sleep_in_a_mode_that_does_not_have_them",
    "administration::root_status_speaks_the_kernels_text",
    "administration::root_the_service_manager_is_told_when_the_daemon_is_ready",
    "administration::root_up_that_fails_halfway_is_undone",
    "administration::root_what_a_file_no_longer_says_goes_back_and_a_failure_halfway_changes_nothing",
    "administration::root_without_permission_the_daemon_says_which_is_missing",
    "apply::root_a_bridge_on_a_bond_is_applied_once_and_then_nothing_is_written",
    "apply::root_a_failure_in_the_middle_leaves_everything_as_it_was",
    "apply::root_each_thing_is_changed_alone_and_read_back",
    "apply::metered_root_the_only_address_moves_to_the_bond_and_back",
    "apply::root_what_somebody_else_made_is_used_and_never_deleted",
    "durability::root_a_bond_deleted_while_no_daemon_ran_gives_its_ports_back",
    "durability::root_a_daemon_killed_while_it_makes_a_bond_leaves_nothing_behind",
    "durability::root_a_daemon_killed_while_ports_come_and_go_leaves_each_in_or_out",
    "durability::root_a_full_disk_refuses_changes_and_down_still_works",
    "durability::root_a_state_file_that_cannot_be_read_leaves_the_bond_alone_until_it_is_taken_down",
    "durability::root_an_expected_port_that_cannot_join_is_no_storm",
    "durability::root_events_follow_the_snapshot_without_a_gap_or_a_double",
    "durability::root_oxbond_events_prints_what_happens",
    "durability::root_what_a_user_does_to_interfaces_harms_nobody",
    "failover::root_a_killed_daemon_is_followed_by_one_that_writes_nothing",
    "frames::metered_root_a_failover_is_announced_at_once_and_as_often_as_asked",
    "frames::root_fail_over_mac_decides_which_addresses_are_on_the_wire",
    "frames::root_jumbo_frames_pass",
    "frames::root_the_bond_can_be_a_bridge_port",
    "frames::root_the_bond_can_carry_a_macvlan",
    "frames::root_the_ports_follow_the_mtu_and_the_address_a_user_gives_the_bond",
    "guides::root_cloud_init",
    "guides::root_debian_ifupdown",
    "guides::root_ifcfg_with_modprobe_d",
    "guides::root_iproute2_lines",
    "guides::root_netplan_apply",
    "guides::root_network_manager_keyfiles",
    "guides::root_networkd",
    "guides::root_nmcli_lines",
    "guides::root_nmcli_typed_line_by_line",
    "guides::root_nmstate",
    "guides::root_proxmox_and_ifreload",
    "guides::root_rhel_ifcfg",
    "inside::inside_a_vlan_aware_bridge_is_applied_as_its_guides_say",
    "inside::inside_a_vlan_on_the_bond_carries_traffic_and_is_announced",
    "inside::inside_the_bond_is_a_port_of_a_vlan_filtering_bridge",
    "inside::inside_vlans_on_a_bond_and_a_bridge_on_a_vlan_are_applied",
    "iproute::root_a_batch_runs_until_its_first_failure",
    "iproute::root_a_script_for_the_driver_runs_with_ip_replaced",
    "iproute::root_bonds_and_ports_have_the_drivers_keys_in_every_mode",
    "iproute::root_bonds_are_told_apart_by_filters_and_forms",
    "iproute::root_ports_move_between_bonds_and_bridges",
    "iproute::root_refusals_are_the_drivers_with_an_explanation",
    "iproute::root_what_is_not_about_bonds_is_done_by_the_systems_ip",
    "iproute::root_without_a_daemon_bonds_are_left_alone",
    "kernel_engine::inside_a_bond_that_is_down_for_a_change_is_brought_back_by_another_daemon",
    "kernel_engine::inside_a_bond_that_another_program_renames_is_known_by_its_old_name",
    "kernel_engine::inside_a_daemon_of_nobody_is_told_that_it_needs_root",
    "kernel_engine::inside_a_driver_bond_that_another_program_deletes_is_told_once",
    "kernel_engine::inside_a_port_that_another_program_keeps_taking_is_left_alone_in_the_end",
    "kernel_engine::inside_a_primary_and_an_active_port_set_later_stay_when_a_port_joins",
    "kernel_engine::inside_a_primary_port_that_is_missing_is_primary_when_it_comes",
    "kernel_engine::inside_options_newer_than_the_driver_are_told_with_the_kernel",
    "kernel_engine::inside_the_driver_needs_no_right_to_load_programs",
    "save::root_what_runs_is_written_and_read_again_as_it_is",
    "selectors::root_a_named_port_that_is_missing_does_not_stop_the_others",
    "selectors::root_a_port_that_appears_late_joins_the_bond_that_waits_for_its_kind",
    "selectors::root_an_interface_that_two_bonds_ask_for_is_in_neither",
    "trial::root_a_confirmed_trial_stays",
    "trial::root_a_daemon_killed_on_the_way_back_is_followed_by_one_that_goes_on",
    "trial::root_a_gate_that_stays_shut_ends_a_trial_at_once",
    "trial::root_a_trial_that_nobody_confirms_goes_back",
    "trial::root_a_trial_goes_back_to_addresses_in_their_order",
    "trial::root_an_lacp_partner_opens_its_gate",
    "wait::root_a_dead_cable_does_not_hold_up_who_waits_for_any_port",
];

#[test]
fn guest_root_bonds_on_the_driver_do_what_ours_do() {
    let this = std::env::current_exe().expect("a test knows its own file");
    let this = this.to_str().expect("a path in UTF-8");
    let command = [this, "--exact", THREADS];
    let outcome = Uml::new()
        .memory_mib(1024)
        .timeout(PATIENCE)
        .env(ENGINE_VARIABLE, "kernel")
        .run(command.iter().chain(TESTS))
        .unwrap_or_else(|e| panic!("{e:#}"));
    let said = String::from_utf8_lossy(&outcome.stdout);
    let all = format!("{} passed", TESTS.len());
    assert!(
        outcome.code == 0 && said.contains(&all),
        "{} tests\n{said}{}",
        TESTS.len(),
        String::from_utf8_lossy(&outcome.stderr)
    );
}
