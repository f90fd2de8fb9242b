//! Names that a network interface can have.

use oxbond_core::option::MAX_NAME;

/// Why a text cannot be an interface's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No text at all, which the kernel takes for "choose one".
    #[error("an interface name cannot be empty")]
    Empty,
    /// More than [`MAX_NAME`] bytes.
    #[error("{name:?} is too long for an interface name: it has {} bytes, at most {MAX_NAME} fit", name.len())]
    TooLong {
        /// The name.
        name: String,
    },
    /// A character that the kernel refuses (it would break paths in /sys and /proc, or labels such as `eth0:1`).
    #[error("{name:?} cannot be an interface name: {found:?} is not allowed in one")]
    Character {
        /// The name.
        name: String,
        /// The first such character.
        found: char,
    },
    /// `.` or `..`, which are directories.
    #[error("{name:?} cannot be an interface name: it means a directory")]
    Directory {
        /// The name.
        name: String,
    },
}

/// Checks that the kernel accepts `name` for an interface.
///
/// # Errors
///
/// Says what is wrong with it, naming it.
pub fn check_interface_name(name: &str) -> Result<(), NameError> {
    let name = name.to_owned();
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong { name });
    }
    if name == "." || name == ".." {
        return Err(NameError::Directory { name });
    }
    // `%` makes the kernel take the name for a pattern and fill a number in.
    match name
        .chars()
        .find(|c| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control())
    {
        Some(found) => Err(NameError::Character { name, found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_kernel_accepts() {
        for name in [
            "bond0",
            "enp3s0f1np1",
            "eth0.100",
            "a",
            "fifteen-bytes-x",
            "br-äöü",
        ] {
            assert_eq!(check_interface_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (name, word) in [
            ("", "empty"),
            ("sixteen-bytes-xx", "16 bytes"),
            ("ääääääää", "16 bytes"),
            ("a/b", "'/'"),
            ("eth0:1", "':'"),
            ("a b", "' '"),
            ("bond%d", "'%'"),
            (".", "directory"),
            ("..", "directory"),
        ] {
            let error = check_interface_name(name).unwrap_err().to_string();
            assert!(error.contains(word), "{name}: {error}");
        }
    }
}
