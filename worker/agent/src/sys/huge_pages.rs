//! Large pages for what is copied often.

use std::{fs, io};

/// The size of a large page, in bytes: of one entry of the table above the last one.
const LARGE_PAGE: usize = 2 << 20;

/// `MADV_COLLAPSE`, since Linux 6.1.
const COLLAPSE: libc::c_int = 25;

/// Puts this process's own memory into large pages where it fills them. A fork copies an entry of a
/// table for every page, and an end takes one back: with large pages both have less to do. What a copy
/// writes to is copied by small pages all the same. On kernels that can't do it nothing changes.
///
/// # Errors
/// If /proc can't be read.
pub(crate) fn collapse_memory() -> io::Result<()> {
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let Some((start, end)) = own_range(line) else { continue };
        let start = start.next_multiple_of(LARGE_PAGE);
        for page in (start..end).step_by(LARGE_PAGE).filter(|page| page + LARGE_PAGE <= end) {
            // SAFETY: the range is mapped and stays so (there is one thread), and its content doesn't change.
            // A refusal costs speed only, so the result is not looked at.
            unsafe { libc::madvise(page as *mut libc::c_void, LARGE_PAGE, COLLAPSE) };
        }
    }
    Ok(())
}

/// The range of a line of /proc/self/maps, if that is memory of the process's own and no file's.
fn own_range(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, access, inode) = (fields.next()?, fields.next()?, fields.nth(2)?);
    if access != "rw-p" || inode != "0" || fields.next() == Some("[stack]") {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_its_own_is_told_from_files() {
        let own = "7f0000000000-7f0000400000 rw-p 00000000 00:00 0 ";
        assert_eq!(own_range(own), Some((0x7f00_0000_0000, 0x7f00_0040_0000)));
        let heap = "01000000-01200000 rw-p 00000000 00:00 0      [heap]";
        assert_eq!(own_range(heap), Some((0x0100_0000, 0x0120_0000)));
        for other in [
            "7f0000000000-7f0000400000 rw-p 00000000 fe:00 77 /usr/lib/x.so",
            "7f0000000000-7f0000400000 r--p 00000000 00:00 0 ",
            "7ffe00000000-7ffe00400000 rw-p 00000000 00:00 0 [stack]",
            "",
        ] {
            assert_eq!(own_range(other), None, "{other}");
        }
    }

    #[test]
    fn collapsed_memory_keeps_its_content() {
        let content: Vec<u8> = (0..8 << 20).map(|number| (number % 251) as u8).collect();
        collapse_memory().expect("readable");
        assert!(content.iter().enumerate().all(|(number, byte)| *byte == (number % 251) as u8));
    }
}
