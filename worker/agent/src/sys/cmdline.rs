//! What /proc says that a process was started with.

use std::io;

/// Has /proc show `command` and `environment` as what this process was started with; kernels without
/// CONFIG_CHECKPOINT_RESTORE go on showing what it really was.
///
/// # Errors
/// If /proc can't be read.
pub(crate) fn set_cmdline(command: &[String], environment: &[(String, String)]) -> io::Result<()> {
    let mut map = own_map()?;
    let mut shown: Vec<u8> = Vec::new();
    for argument in command {
        shown.extend_from_slice(argument.as_bytes());
        shown.push(0);
    }
    let arguments = shown.len() as u64;
    for (name, value) in environment {
        shown.extend_from_slice(format!("{name}={value}\0").as_bytes());
    }
    // For as long as the process lives.
    let shown: &'static [u8] = shown.leak();
    let start = shown.as_ptr() as u64;
    (map.arg_start, map.arg_end) = (start, start + arguments);
    (map.env_start, map.env_end) = (start + arguments, start + shown.len() as u64);
    show(&map);
    Ok(())
}

/// Has /proc show what this process was started with without the end of its environment from `end` on; kernels as
/// for [`set_cmdline`].
///
/// # Errors
/// If /proc can't be read.
pub(crate) fn cut_environment(end: *const libc::c_char) -> io::Result<()> {
    let mut map = own_map()?;
    if (map.env_start..map.env_end).contains(&(end as u64)) {
        map.env_end = end as u64;
        show(&map);
    }
    Ok(())
}

fn show(map: &MemoryMap) {
    // SAFETY: the map is read for exactly its size and outlives the call. All but four of its fields
    // are what they were; those four are only ever used to show what is there, which lives as long as the process.
    unsafe {
        libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, map, size_of::<MemoryMap>(), 0);
    }
}

/// As it is.
fn own_map() -> io::Result<MemoryMap> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the name, in brackets, with whatever is in it. Counted from there, the first
    // is the state; numbers of fields are those of proc_pid_stat(5).
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .into_iter()
        .flat_map(str::split_whitespace)
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    // SAFETY: asks for the end of the heap and moves nothing.
    let heap_end = unsafe { libc::sbrk(0) } as u64;
    Ok(MemoryMap {
        start_code: field(26),
        end_code: field(27),
        start_data: field(45),
        end_data: field(46),
        start_brk: field(47),
        brk: heap_end,
        start_stack: field(28),
        arg_start: field(48),
        arg_end: field(49),
        env_start: field(50),
        env_end: field(51),
        auxv: 0,
        auxv_size: 0,
        exe_fd: u32::MAX,
    })
}

/// `struct prctl_mm_map`.
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}
