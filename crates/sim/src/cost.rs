//! What a run costs this machine.

/// Seconds that the processor has worked for this thread: what a machine with other things to do would take on a core of its own.
pub fn processor_time() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = schedstat
        .split(' ')
        .next()
        .and_then(|nanos| nanos.parse::<f64>().ok());
    nanos.unwrap_or(0.0) / 1e9
}

/// Most bytes of this process that ever were in memory at once; 0 where the kernel does not say.
pub fn peak_resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}

/// Lets [`peak_resident`] begin anew, where the kernel allows that.
pub(crate) fn forget_peak() {
    const PEAK: &str = "5";
    let _ = std::fs::write("/proc/self/clear_refs", PEAK);
}

/// Bytes of this process that are in memory; 0 where the kernel does not say.
pub fn resident() -> u64 {
    const PAGE: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_remembers_what_was_given_back() {
        const SIZE: usize = 64 << 20;
        let before = peak_resident();
        let much = std::hint::black_box(vec![1_u8; SIZE]);
        drop(much);
        let peak = peak_resident();
        assert!(peak >= before + SIZE as u64 / 2, "{before} {peak}");
        assert!(peak >= resident(), "{peak}");
    }
}
