//! Large pages. A large world is spread over gigabytes of which every event touches a few lines somewhere else; with pages of
//! 4 KiB finding out where those are takes as long as fetching them.

use std::{os::unix::process::CommandExt, process::Command};

/// What glibc's allocator reads before the program begins: 1 asks the kernel for transparent huge pages (glibc 2.35, "Memory
/// Allocation Tunables"). Where nothing reads it, nothing changes.
const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");

/// Begins anew, in the same process, with an allocator that uses large pages. Comes back if that was done already, if somebody
/// chose otherwise, or if it does not work; all of which only costs speed.
pub(crate) fn enlarge() {
    let (name, value) = TUNABLES;
    if std::env::var_os(name).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        let arguments = std::env::args_os().skip(1);
        // Returns only if it failed.
        let _ = Command::new(program)
            .args(arguments)
            .env(name, value)
            .exec();
    }
}
