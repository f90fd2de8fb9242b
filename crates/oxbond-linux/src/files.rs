//! Files that are replaced whole: a reader meets the old text or the new one, whatever happens to the writer.
//!
//! The new text is written to a draft, `.NAME.new` in the same directory, and moved to its place when it is whole. Hidden,
//! so that no tool that reads a directory takes a draft for configuration.
//!
//! | what happens | the file | the draft |
//! |---|---|---|
//! | the disk is full, or refuses | has its old text; the caller is told | removed |
//! | the writer is killed, at any moment | has its old text or the new one, whole | may stay; the next writer removes it |
//! | the machine dies | has its old text or the new one, whole; the new one once the call has returned | as above |
//! | two write at once | has the text of who came last; they take turns | - |
//!
//! Text and directory are synced for that, which costs nothing on a tmpfs (`/run`) and a few milliseconds on a disk.
//! A symbolic link stays, and the file that it leads to is replaced. Owner and mode are kept. Access control lists
//! and extended attributes are not: the new file has those that its directory gives.
//!
//! One case is weaker. A file that is a mount of its own (`resolv.conf` in a container) can only be written in place; a
//! reader may then meet half of it, and the machine dying in that moment leaves half of it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Links that are followed to a file; as many as the kernel follows.
const MOST_LINKS: usize = 40;

/// Permission bits of a file that is replaced. The mask of the process does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As the file had them; these where there was none.
    KeptOr(u32),
    /// These, whatever the file had.
    Exactly(u32),
}

/// A new text for a file, beside its place. Dropped, it vanishes.
#[derive(Debug)]
pub struct Draft {
    /// Locked: whoever wants to write the same file waits.
    file: File,
    path: PathBuf,
    place: PathBuf,
    moved: bool,
}

impl Draft {
    /// An empty draft for the file `path`, whose directory exists. Waits while another one has such a draft.
    ///
    /// # Errors
    /// When the draft cannot be made, or not with the owner and mode of the file.
    pub fn of(path: &Path, mode: Mode) -> io::Result<Self> {
        let place = behind_links(path)?;
        let name = place.file_name().ok_or(Errno::ISDIR)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".new");
        let path = place.with_file_name(hidden);
        let draft = Self {
            file: create_alone(&path)?,
            path,
            place,
            moved: false,
        };
        let there = match fs::metadata(&draft.place) {
            Ok(there) => Some(there),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        if let Some(there) = &there {
            let (owner, group) = (there.uid(), there.gid());
            let ours = draft.file.metadata()?;
            if (owner, group) != (ours.uid(), ours.gid()) {
                fchown(&draft.file, Some(owner), Some(group))?;
            }
        }
        let bits = match mode {
            Mode::KeptOr(bits) => there.map_or(bits, |there| there.permissions().mode()),
            Mode::Exactly(bits) => bits,
        };
        let permissions = fs::Permissions::from_mode(bits & 0o7777);
        draft.file.set_permissions(permissions)?;
        Ok(draft)
    }

    /// Writes text, behind what was written before.
    ///
    /// # Errors
    /// A full disk, or one that fails.
    pub fn write(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        self.file.sync_all()
    }

    /// Moves the draft to the file's place.
    ///
    /// # Errors
    /// When the system refuses; the file is as it was. Only where its directory cannot be synced is it the new one
    /// already, and not sure to be there after a crash.
    pub fn put(mut self) -> io::Result<()> {
        match fs::rename(&self.path, &self.place) {
            // A mount takes a new text but no new file. That there is room was seen, if on another disk.
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                fs::copy(&self.path, &self.place)?;
                File::open(&self.place)?.sync_all()
            }
            renamed => {
                renamed?;
                self.moved = true;
                sync_directory_of(&self.place)
            }
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.moved {
            // What stays is hidden, and the next writer removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Replaces a file, or leaves it as it was: see the module.
///
/// # Errors
/// As those of [`Draft`].
pub fn replace(path: &Path, text: &[u8], mode: Mode) -> io::Result<()> {
    let mut draft = Draft::of(path, mode)?;
    draft.write(text)?;
    draft.put()
}

/// Removes a file, if it is there, so that it stays away after the machine died.
///
/// # Errors
/// When the system refuses.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path).and_then(|()| sync_directory_of(path)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Only then a name in the directory is sure to be there, or to be gone.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// The path of what a path leads to, there or not.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or_else(|| Path::new("/")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(Errno::LOOP.into())
}

/// Makes the file and locks it. One that is there already was left by a writer that was killed, and is removed, unless it
/// is locked: then its writer is waited for. A file is only ours once it is locked and still at its path, since another
/// one may take it for left behind between the two.
fn create_alone(path: &Path) -> io::Result<File> {
    let same =
        |one: &Metadata, other: &Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    loop {
        let mut create = OpenOptions::new();
        create.write(true).create_new(true).mode(0o600);
        let (file, ours) = match create.open(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let mut open = OpenOptions::new();
                match open.write(true).custom_flags(libc::O_NOFOLLOW).open(path) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    opened => (opened?, false),
                }
            }
            created => (created?, true),
        };
        file.lock()?;
        let locked = file.metadata()?;
        if !fs::symlink_metadata(path).is_ok_and(|there| same(&there, &locked)) {
            continue;
        }
        if ours {
            return Ok(file);
        }
        fs::remove_file(path)?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use rustix::mount::{MountFlags, mount, mount_bind};

    use super::*;
    use crate::test_support::{TempDir, in_fresh_namespaces};

    const KEPT: Mode = Mode::KeptOr(0o644);

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_mode_is_kept_or_as_wanted() {
        let dir = TempDir::new();
        let file = dir.path().join("file");
        replace(&file, b"one", Mode::KeptOr(0o666)).unwrap();
        assert_eq!((text(&file).as_str(), mode(&file)), ("one", 0o666));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&file, b"two", KEPT).unwrap();
        assert_eq!((text(&file).as_str(), mode(&file)), ("two", 0o640));
        replace(&file, b"", Mode::Exactly(0o600)).unwrap();
        assert_eq!((text(&file).as_str(), mode(&file)), ("", 0o600));
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn root_the_owner_is_kept() {
        let dir = TempDir::new();
        let file = dir.path().join("file");
        fs::write(&file, "one").unwrap();
        std::os::unix::fs::chown(&file, Some(12_345), Some(54_321)).unwrap();
        replace(&file, b"two", KEPT).unwrap();
        let there = fs::metadata(&file).unwrap();
        assert_eq!((there.uid(), there.gid()), (12_345, 54_321));
        assert_eq!(text(&file), "two");
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced() {
        let dir = TempDir::new();
        let [inner, file, link, far] =
            ["inner", "inner/file", "link", "far"].map(|name| dir.path().join(name));
        fs::create_dir(inner).unwrap();
        symlink("inner/file", &link).unwrap();
        symlink(&link, &far).unwrap();
        // At first it leads nowhere.
        for new in ["one", "two"] {
            replace(&far, new.as_bytes(), KEPT).unwrap();
            assert!(far.is_symlink() && link.is_symlink() && !file.is_symlink());
            assert_eq!(text(&file), new);
        }
        assert_eq!(names(dir.path()), ["far", "inner", "link"]);
        fs::remove_file(&link).unwrap();
        symlink(&far, &link).unwrap();
        let error = replace(&far, b"three", KEPT).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn a_draft_that_is_not_put_vanishes_and_one_left_behind_is_removed() {
        let dir = TempDir::new();
        let file = dir.path().join("file");
        fs::write(&file, "old").unwrap();
        let mut draft = Draft::of(&file, KEPT).unwrap();
        draft.write(b"new").unwrap();
        assert_eq!(
            (text(&draft.path).as_str(), text(&file).as_str()),
            ("new", "old")
        );
        let path = draft.path.clone();
        drop(draft);
        assert_eq!(names(dir.path()), ["file"]);

        fs::write(&path, "of one that was killed, and longer").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        replace(&file, b"new", KEPT).unwrap();
        assert_eq!((text(&file).as_str(), mode(&file)), ("new", 0o644));
        assert_eq!(names(dir.path()), ["file"]);

        // Not ours to remove.
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, "theirs").unwrap();
        symlink(&elsewhere, &path).unwrap();
        replace(&file, b"newer", KEPT).unwrap_err();
        assert_eq!(
            (text(&file).as_str(), text(&elsewhere).as_str()),
            ("new", "theirs")
        );
    }

    #[test]
    fn a_missing_file_is_removed_already() {
        let dir = TempDir::new();
        let file = dir.path().join("file");
        remove(&file).unwrap();
        fs::write(&file, "").unwrap();
        remove(&file).unwrap();
        assert!(!file.exists());
        remove(dir.path()).unwrap_err();
    }

    #[test]
    fn those_who_write_at_once_take_turns() {
        let dir = TempDir::new();
        let file = dir.path().join("file");
        let texts = ["a", "b", "c", "d"].map(|letter| letter.repeat(10_000));
        std::thread::scope(|scope| {
            for text in &texts {
                let file = &file;
                scope.spawn(move || {
                    for _ in 0..20 {
                        replace(file, text.as_bytes(), KEPT).unwrap();
                        let read = fs::read_to_string(file).unwrap();
                        assert_eq!(read, read[..1].repeat(10_000));
                    }
                });
            }
        });
        assert!(texts.contains(&text(&file)));
        assert_eq!(names(dir.path()), ["file"]);
    }

    /// The environment variable that makes the next test the writer to be killed.
    const VICTIM: &str = "OXBOND_TEST_FILES_VICTIM";

    #[test]
    fn killed_at_any_moment_leaves_the_old_text_or_the_new_one() {
        let texts = ["old\n", "new\n"].map(|line| line.repeat(20_000));
        if let Some(file) = std::env::var_os(VICTIM) {
            for text in texts.iter().cycle() {
                replace(Path::new(&file), text.as_bytes(), KEPT).unwrap();
            }
        }
        let dir = TempDir::new();
        let file = dir.path().join("file");
        let mut left_behind = 0;
        for round in 0..12 {
            fs::write(&file, "first").unwrap();
            let mut victim = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "files::tests::killed_at_any_moment_leaves_the_old_text_or_the_new_one",
                ])
                .env(VICTIM, &file)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            crate::test_support::poll_until("it writes", || text(&file) != "first");
            std::thread::sleep(Duration::from_micros(170 * round));
            victim.kill().unwrap();
            victim.wait().unwrap();
            assert!(texts.contains(&text(&file)), "{:?}", &text(&file)[..40]);
            left_behind += names(dir.path()).len() - 1;
            replace(&file, b"whole", KEPT).unwrap();
            assert_eq!(names(dir.path()), ["file"]);
        }
        assert!(left_behind > 0, "no victim was killed while it wrote");
    }

    #[test]
    fn root_a_full_disk_leaves_the_old_text() {
        // What is mounted there is gone when the directory is to go.
        let dir = TempDir::new();
        in_fresh_namespaces(|| {
            mount(
                "tmpfs",
                dir.path(),
                "tmpfs",
                MountFlags::empty(),
                Some(c"size=64k"),
            )
            .unwrap();
            let file = dir.path().join("file");
            let old = "old".repeat(10_000);
            replace(&file, old.as_bytes(), KEPT).unwrap();
            let error = replace(&file, &[b'x'; 60_000], KEPT).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(text(&file), old);
            assert_eq!(names(dir.path()), ["file"]);
            replace(&file, b"small", KEPT).unwrap();
            assert_eq!(text(&file), "small");
        });
    }

    #[test]
    fn root_a_file_that_is_a_mount_is_written_in_place() {
        let dir = TempDir::new();
        in_fresh_namespaces(|| {
            let [file, outside] = ["resolv.conf", "outside"].map(|name| dir.path().join(name));
            fs::write(&file, "").unwrap();
            fs::write(&outside, "a longer old text").unwrap();
            mount_bind(&outside, &file).unwrap();
            replace(&file, b"new", KEPT).unwrap();
            assert_eq!(
                (text(&file).as_str(), text(&outside).as_str()),
                ("new", "new")
            );
            assert_eq!(names(dir.path()), ["outside", "resolv.conf"]);
        });
    }
}
