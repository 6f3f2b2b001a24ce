//! Checks that no other user can read or write a private file: a key, a budget, claims.

use std::fmt;
use std::path::Path;

/// Rights of other users on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exposed {
    /// Others can read it.
    Readable,
    /// Others can write it.
    Writable,
    /// It belongs to another user, and not to the system.
    Foreign,
    /// Everybody can replace it: everybody can write its directory, which has no sticky bit.
    Directory,
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Readable => "others can read the file: run chmod 600 on it",
            Self::Writable => "others can write the file: run chmod 600 on it",
            Self::Foreign => "the file belongs to another user: use a file of your own",
            Self::Directory => {
                "everybody can replace the file: run chmod o-w on its directory, or use another one"
            }
        })
    }
}

impl std::error::Error for Exposed {}

/// Checks that only its owner and the system can write a file. With `is_secret`, only they may read it.
/// Pipes, terminals and missing files pass. On systems without such rights, every file passes. The owner is
/// checked on Linux only.
///
/// # Errors
/// [`Exposed`].
pub fn check(path: &Path, is_secret: bool) -> Result<(), Exposed> {
    #[cfg(unix)]
    return unix::check(path, is_secret);
    #[cfg(not(unix))]
    Ok(())
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, Metadata};
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::Exposed;

    pub(super) fn check(path: &Path, is_secret: bool) -> Result<(), Exposed> {
        let Ok(file) = fs::metadata(path) else { return Ok(()) };
        if !file.is_file() {
            return Ok(());
        }
        if file.mode() & 0o022 != 0 {
            return Err(Exposed::Writable);
        }
        if is_secret && file.mode() & 0o044 != 0 {
            return Err(Exposed::Readable);
        }
        // Root can read all keys, and may use another user's key.
        let own = own_id().filter(|own| !(is_secret && *own == 0));
        if own.is_some_and(|own| ![0, own].contains(&file.uid())) {
            return Err(Exposed::Foreign);
        }
        // A link has two directories to check: its own and that of its target.
        let places = [std::path::absolute(path), fs::canonicalize(path)];
        let directories = places.iter().flatten().filter_map(|place| place.parent());
        if directories.filter_map(|it| fs::metadata(it).ok()).any(|it| is_everybodys(&it)) {
            return Err(Exposed::Directory);
        }
        Ok(())
    }

    fn is_everybodys(directory: &Metadata) -> bool {
        directory.mode() & 0o002 != 0 && directory.mode() & 0o1000 == 0
    }

    /// The effective user of this process.
    fn own_id() -> Option<u32> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_that_others_have_a_hand_in_are_known() {
        let name = format!("x402-exposed-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        mode(&folder, 0o700).unwrap();
        let file = folder.join("file");
        assert_eq!(check(&file, true), Ok(()), "not there");
        fs::write(&file, "x").unwrap();
        for (bits, plain, secret) in [
            (0o600, Ok(()), Ok(())),
            (0o400, Ok(()), Ok(())),
            (0o700, Ok(()), Ok(())),
            (0o640, Ok(()), Err(Exposed::Readable)),
            (0o644, Ok(()), Err(Exposed::Readable)),
            (0o604, Ok(()), Err(Exposed::Readable)),
            (0o620, Err(Exposed::Writable), Err(Exposed::Writable)),
            (0o602, Err(Exposed::Writable), Err(Exposed::Writable)),
            (0o666, Err(Exposed::Writable), Err(Exposed::Writable)),
            (0o660, Err(Exposed::Writable), Err(Exposed::Writable)),
        ] {
            mode(&file, bits).unwrap();
            assert_eq!((check(&file, false), check(&file, true)), (plain, secret), "{bits:o}");
        }
        mode(&file, 0o600).unwrap();
        let link = std::env::temp_dir().join(format!("x402-exposed-link-{}", std::process::id()));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for (bits, expected) in [
            (0o777, Err(Exposed::Directory)),
            (0o703, Err(Exposed::Directory)),
            (0o1777, Ok(())),
            (0o755, Ok(())),
        ] {
            mode(&folder, bits).unwrap();
            for path in [&file, &link] {
                assert_eq!(
                    (check(path, false), check(path, true)),
                    (expected, expected),
                    "{bits:o}"
                );
            }
        }
        fs::remove_file(&link).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(check(Path::new("/dev/null"), true), Ok(()), "no file");
    }
}
