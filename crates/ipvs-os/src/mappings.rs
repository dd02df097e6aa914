//! The pages of the program's and its libraries' files that a process has mapped.

use std::ffi::{c_int, c_void};
use std::fs;
use std::io;
use std::ops::Range;
use std::slice;

/// Unmaps the pages of code and constants of the program and its libraries. Those that are still
/// used are mapped again as they are touched. Returns the size of what was unmapped, mapped or not, in
/// bytes.
///
/// A process keeps whatever its start has touched, and 64 KiB around each touched page, because the
/// kernel maps that much at a time. What it needs from then on may be a fraction of that.
///
/// This doesn't free memory by itself: the pages are in the page cache, and stay there for other
/// processes, and for this one. But its resident set is then what it uses, and the kernel finds
/// the rest unused when it looks for memory. Each 64 KiB that are used again cost a minor fault.
///
/// Only segments that nobody may write to are concerned, so nothing is lost. A mapping with a page that was
/// changed nevertheless, by a debugger or a uprobe, stays as it is.
///
/// # Errors
///
/// If `/proc/self/smaps` can't be read.
#[doc(alias = "madvise")]
#[doc(alias = "MADV_DONTNEED")]
pub fn unmap_clean_code() -> io::Result<usize> {
    let smaps = fs::read_to_string("/proc/self/smaps")?;
    let mut unmapping = Unmapping { clean: clean(&smaps), page: page_size(), bytes: 0 };
    // SAFETY: The callback gets `unmapping`, which nothing else uses during the call.
    unsafe { libc::dl_iterate_phdr(Some(of_object), (&raw mut unmapping).cast()) };
    Ok(unmapping.bytes)
}

/// What the callback needs.
#[derive(Debug)]
struct Unmapping {
    /// Mappings of files without a changed page.
    clean: Vec<Range<usize>>,
    page: usize,
    /// What was unmapped.
    bytes: usize,
}

/// Unmaps the segments of one object of the program.
///
/// # Safety
///
/// Only `dl_iterate_phdr` may call it, with an [`Unmapping`] that nobody else uses.
unsafe extern "C" fn of_object(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    unmapping: *mut c_void,
) -> c_int {
    // SAFETY: dl_iterate_phdr(3) passes a description, and what it was given.
    let (object, unmapping) = unsafe { (&*object, &mut *unmapping.cast::<Unmapping>()) };
    if object.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: The object's program headers are mapped as long as it is in the list, which is locked.
    let headers = unsafe { slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    let address = |vaddr| address(object.dlpi_addr as usize, vaddr as usize);
    let dynamic = headers.iter().find(|it| it.p_type == libc::PT_DYNAMIC);
    // SAFETY: This is where the object's dynamic section is mapped.
    if dynamic.is_some_and(|it| unsafe { changes_code(address(it.p_vaddr) as *const Dynamic) }) {
        return 0;
    }
    for it in headers.iter().filter(|it| it.p_type == libc::PT_LOAD && it.p_flags & libc::PF_W == 0)
    {
        let whole = whole_pages(address(it.p_vaddr), it.p_memsz as usize, unmapping.page);
        let Some(Range { start, end }) = whole else { continue };
        let fits = |it: &Range<usize>| it.start <= start && end <= it.end;
        if !unmapping.clean.iter().any(fits) {
            continue;
        }
        let length = end - start;
        // SAFETY: The range belongs to a segment of an object that stays loaded while the list is
        // locked. Nothing writes to it: it isn't writable, and the object's relocations change no such
        // segment. So each of its pages is the file's, and the kernel maps the same bytes again
        // when it is touched.
        let result = unsafe { libc::madvise(start as *mut c_void, length, libc::MADV_DONTNEED) };
        // Locked pages (`mlockall`) stay.
        unmapping.bytes += if result == 0 { length } else { 0 };
    }
    0
}

/// Where an address of an object's file is in memory. The object may be below the addresses in its
/// file, so the base is a difference modulo the size of the address space: that of User-Mode Linux's
/// vDSO is.
fn address(base: usize, vaddr: usize) -> usize {
    base.wrapping_add(vaddr)
}

/// The pages of a segment, if it has any for itself: one at its edge may also be another segment's.
fn whole_pages(start: usize, size: usize, page: usize) -> Option<Range<usize>> {
    let end = start.checked_add(size)?;
    let whole = start.checked_next_multiple_of(page)?..end - end % page;
    (whole.start < whole.end).then_some(whole)
}

/// An entry of a dynamic section (`Elf64_Dyn`, `Elf32_Dyn` of elf(5)).
#[repr(C)]
struct Dynamic {
    tag: isize,
    value: usize,
}

/// Whether loading an object changes its code: it has text relocations.
///
/// # Safety
///
/// A dynamic section must be there, up to its end.
unsafe fn changes_code(mut entry: *const Dynamic) -> bool {
    const DT_NULL: isize = 0;
    const DT_TEXTREL: isize = 22;
    const DT_FLAGS: isize = 30;
    const DF_TEXTREL: usize = 4;
    loop {
        // SAFETY: No entry before this one was the last.
        let Dynamic { tag, value } = unsafe { &*entry };
        match *tag {
            DT_NULL => return false,
            DT_TEXTREL => return true,
            DT_FLAGS if value & DF_TEXTREL != 0 => return true,
            // SAFETY: As above.
            _ => entry = unsafe { entry.add(1) },
        }
    }
}

/// The private mappings of files in a `/proc/PID/smaps` that aren't writable and have no page of
/// their own.
fn clean(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        if let Some(kib) = line.strip_prefix("Anonymous:") {
            found.extend(mapping.take().filter(|_| kib.trim() == "0 kB"));
        } else if let Some(next) = header(line) {
            mapping = next;
        }
    }
    found
}

/// The first line of a mapping: its addresses if it is a read-only one of a file, or else Some(None).
/// None for any other line.
fn header(line: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |it| usize::from_str_radix(it, 16).ok();
    let range = address(start)?..address(end)?;
    let is_private = matches!(words.next()?.as_bytes(), [_, b'-', _, b'p']);
    let is_file = words.nth(2)? != "0";
    Some((is_private && is_file).then_some(range))
}

fn page_size() -> usize {
    // SAFETY: sysconf takes a number, and knows this one on every Linux.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::hint::black_box;
    use std::os::unix::fs::FileExt as _;
    use std::process::Command;

    use super::*;

    /// Real lines, without most of the fields; `proc_pid_smaps(5)` has the format.
    #[test]
    fn only_unchanged_read_only_files_are_clean() {
        let mapping = |first: &str, anonymous: u32| {
            format!("{first}\nSize: 8 kB\nRss: 8 kB\nAnonymous: {anonymous} kB\nVmFlags: rd mr\n")
        };
        let smaps = [
            mapping("556ab000-556ad000 r--p 00000000 fe:00 1234   /usr/sbin/ld rectord", 0),
            mapping(
                "556ad000-556af000 r-xp 00002000 fe:00 1234   /usr/sbin/ld rectord (deleted)",
                0,
            ),
            // With a breakpoint.
            mapping("556af000-556b1000 r-xp 00002000 fe:00 1234   /usr/sbin/ldirectord", 4),
            mapping("556b1000-556b3000 rw-p 00006000 fe:00 1234   /usr/sbin/ldirectord", 0),
            mapping("7f000000-7f002000 r--s 00000000 fe:00 99     /usr/share/zoneinfo", 0),
            mapping("7f002000-7f004000 r--p 00000000 00:00 0 ", 0),
            mapping("7ffd1000-7ffd3000 r-xp 00000000 00:00 0      [vdso]", 0),
        ];
        let found = clean(&smaps.concat());
        assert_eq!(found, [0x556a_b000..0x556a_d000, 0x556a_d000..0x556a_f000]);
        assert_eq!(clean("no mapping\nAnonymous: 0 kB\n1-2\nx-y r--p 0 0:0 1\n"), []);
    }

    /// `VDSO_PRELINK` of the kernel's `arch/x86/um/vdso/vdso.lds.S`, 0xffffffffff700000, is an address far
    /// above the one that the object is mapped at.
    #[test]
    fn an_object_may_be_below_the_addresses_in_its_file() {
        let prelinked = usize::MAX - 0x8f_ffff;
        let mapped: usize = 0x4003_2000;
        let base = mapped.wrapping_sub(prelinked);
        assert_eq!(address(base, prelinked + 0x868), mapped + 0x868);
    }

    #[test]
    fn only_whole_pages_of_a_segment_count() {
        let pages = |start, size| whole_pages(start, size, 0x1000);
        assert_eq!(pages(0x1000, 0x2000), Some(0x1000..0x3000));
        assert_eq!(pages(0x1001, 0x2fff), Some(0x2000..0x4000));
        assert_eq!(pages(0x1001, 0x2ffe), Some(0x2000..0x3000));
        for (start, size) in [(0x1000, 0xfff), (0x1001, 0x1ffe), (0x1000, 0), (0x1800, 0x100)] {
            assert_eq!(pages(start, size), None, "{start:x} {size:x}");
        }
        // The last page of the address space has no end.
        assert_eq!(pages(usize::MAX - 0xfff, 0x1000), None);
        assert_eq!(pages(usize::MAX - 0x10, 0x8), None);
    }

    /// In a process of its own, whose mappings nothing else changes.
    #[test]
    fn unchanged_pages_go_and_changed_ones_stay() {
        const ALONE: &str = "IPVS_OS_TEST_MAPPINGS";
        /// A constant of the program: several pages of one of its read-only segments.
        static CONSTANT: [u8; 4 * 4096] = [7; 4 * 4096];
        if std::env::var_os(ALONE).is_none() {
            let own = std::env::current_exe().expect("this program");
            let status = Command::new(own)
                .args(["--exact", "mappings::tests::unchanged_pages_go_and_changed_ones_stay"])
                .arg("--test-threads=1")
                .env(ALONE, "1")
                .status();
            assert!(status.expect("it runs").success());
            return;
        }
        let at = CONSTANT.as_ptr() as usize + 2 * 4096;
        let resident = || {
            let smaps = fs::read_to_string("/proc/self/smaps").expect("this process");
            let mapping = smaps.split("VmFlags").find(|it| {
                it.lines().filter_map(header).flatten().any(|range| range.contains(&at))
            });
            let line = mapping.and_then(|it| it.lines().find_map(|it| it.strip_prefix("Rss:")));
            let kib = line.and_then(|it| it.trim().strip_suffix(" kB")).expect("it is mapped");
            kib.parse::<usize>().expect("a number")
        };
        let sum = || black_box(&CONSTANT).iter().map(|it| usize::from(*it)).sum::<usize>();
        let expected = sum();
        let before = resident();
        let unmapped = unmap_clean_code().expect("smaps can be read");
        let after = resident();
        assert!(unmapped > 64 << 10, "{unmapped}");
        assert!(after + 8 < before, "{before} and {after} KiB");
        assert_eq!(sum(), expected, "they are mapped again");

        // As a debugger does it.
        let memory = OpenOptions::new().write(true).open("/proc/self/mem").expect("own memory");
        memory.write_all_at(&[8], at as u64).expect("a changed page");
        assert_eq!(sum(), expected + 1);
        unmap_clean_code().expect("smaps can be read");
        assert_eq!(sum(), expected + 1, "the change is still there");
    }
}
