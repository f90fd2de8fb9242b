//! What was made by hand is there again after a boot.

use crate::common::Subject;

#[test]
fn root_what_runs_is_written_and_read_again_as_it_is() {
    let subject = Subject::switched();
    subject.must(
        "up bond0 --mode active-backup --primary enp3s0 --miimon 100 --port enp3s0 --address 10.77.0.2/24 \
         --gateway 10.77.0.1",
    );
    subject.must("add-port bond0 enp4s0 --prio 7");
    subject.must("set bond0 --updelay 300 --num-grat-arp 3");
    subject.wait_link(1, "up");
    let before = subject.must("status --proc");

    let file = subject.run_dir().join("etc/oxbond.toml");
    let save = || subject.must(&format!("save --output {}", file.display()));
    assert!(save().contains("written"));
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(subject.must("save --output -"), text);
    assert!(save().contains("is as it should be"));

    // The boot: nothing is left but the file.
    subject.must("down bond0");
    let apply = || subject.must(&format!("apply {}", file.display()));
    assert!(apply().contains("created"));
    assert_eq!(apply().trim(), "nothing to change");
    // The second port waits for its updelay.
    subject.wait_link(1, "up");
    assert_eq!(subject.must("status --proc"), before);
    let route = subject.host().ip("route show default").unwrap();
    assert!(route.contains("via 10.77.0.1 dev bond0"), "{route}");
    assert!(save().contains("is as it should be"));

    // What is a file already does not become two.
    let other = file.with_file_name("mine.toml");
    std::fs::write(&other, &text).unwrap();
    let said = subject.fails(&format!("save --output {}", file.display()), 2);
    assert!(said.contains("mine.toml"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    std::fs::remove_file(other).unwrap();

    // A file without a word of it would get a monitor.
    subject.must("set bond0 --updelay 0 --miimon 0");
    assert!(save().contains("written"));
    assert_eq!(apply().trim(), "nothing to change");
}
