//! Metadata of files and file systems.

use super::{check, code_of, handle, wide};
use crate::execute::Answer;
use io_core::{FileKind, Metadata, OpPath, RawFile, StatFs};
use std::{
    fs::OpenOptions,
    os::windows::{fs::OpenOptionsExt, io::AsRawHandle},
    ptr,
    time::{Duration, SystemTime},
};
use windows_sys::Win32::{
    Foundation::{FILETIME, HANDLE},
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY, FILE_ATTRIBUTE_REPARSE_POINT,
        FILE_ATTRIBUTE_TAG_INFO, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_INFO_BY_HANDLE_CLASS,
        FILE_STANDARD_INFO, FILE_STORAGE_INFO, FileAttributeTagInfo, FileStandardInfo, FileStorageInfo,
        GetDiskFreeSpaceExW, GetDiskFreeSpaceW, GetFileInformationByHandle, GetFileInformationByHandleEx,
        GetVolumePathNameW,
    },
};

const IO_REPARSE_TAG_SYMLINK: u32 = 0xa000_000c;

/// Metadata of an open file. The mode says what the read-only attribute says.
pub(crate) fn stat_file(file: RawFile) -> Answer<Metadata> {
    let file = handle(file);
    let mut info = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: room for the structure.
    check(unsafe { GetFileInformationByHandle(file, &mut info) })?;
    let size = join(info.nFileSizeHigh, info.nFileSizeLow);
    let mut metadata = Metadata::new(kind(file, info.dwFileAttributes), size);
    metadata.mode = if info.dwFileAttributes & FILE_ATTRIBUTE_READONLY != 0 { 0o444 } else { 0o666 };
    metadata.links = u64::from(info.nNumberOfLinks);
    metadata.dev = u64::from(info.dwVolumeSerialNumber);
    metadata.ino = join(info.nFileIndexHigh, info.nFileIndexLow);
    metadata.modified = time(info.ftLastWriteTime);
    metadata.accessed = time(info.ftLastAccessTime);
    metadata.created = time(info.ftCreationTime);
    if let Ok(standard) = standard_info(file) {
        metadata.blocks = (standard.AllocationSize as u64).div_ceil(512);
    }
    // SAFETY: the structure belongs to the class.
    if let Ok(storage) = unsafe { query::<FILE_STORAGE_INFO>(file, FileStorageInfo) } {
        metadata.dio_mem_align = storage.LogicalBytesPerSector;
        metadata.dio_offset_align = storage.LogicalBytesPerSector;
        metadata.dio_read_offset_align = storage.LogicalBytesPerSector;
    }
    Ok(metadata)
}

pub(crate) fn stat_path(path: &OpPath, follow: bool) -> Answer<Metadata> {
    let link = if follow { 0 } else { FILE_FLAG_OPEN_REPARSE_POINT };
    let mut options = OpenOptions::new();
    // No access at all is enough for metadata; directories open with backup semantics only.
    options.access_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS | link);
    let file = options.open(path.as_path()).map_err(code_of)?;
    stat_file(RawFile::new(file.as_raw_handle() as i64))
}

/// Space on the volume that the path lies on.
pub(crate) fn stat_fs(path: &OpPath) -> Answer<StatFs> {
    stat_path(path, true)?;
    let path = wide(path);
    let mut root = [0u16; 1024];
    let (mut sectors, mut bytes, mut free_clusters, mut clusters) = (0, 0, 0, 0);
    let (mut available, mut total, mut free) = (0u64, 0u64, 0u64);
    // SAFETY: both paths are NUL-terminated, the room's size is said, the numbers have their places.
    unsafe {
        check(GetVolumePathNameW(path.as_ptr(), root.as_mut_ptr(), root.len() as u32))?;
        check(GetDiskFreeSpaceW(root.as_ptr(), &mut sectors, &mut bytes, &mut free_clusters, &mut clusters))?;
        check(GetDiskFreeSpaceExW(root.as_ptr(), &mut available, &mut total, &mut free))?;
    }
    let mut answer = StatFs::default();
    answer.block_size = (u64::from(sectors) * u64::from(bytes)).max(1);
    answer.blocks = total / answer.block_size;
    answer.free = free / answer.block_size;
    answer.available = available / answer.block_size;
    Ok(answer)
}

pub(super) fn standard_info(file: HANDLE) -> Answer<FILE_STANDARD_INFO> {
    // SAFETY: the structure belongs to the class.
    unsafe { query(file, FileStandardInfo) }
}

/// # Safety
/// `T` is the structure that the class fills.
unsafe fn query<T: Default>(file: HANDLE, class: FILE_INFO_BY_HANDLE_CLASS) -> Answer<T> {
    let mut info = T::default();
    // SAFETY: room for the structure, and its size is said.
    check(unsafe {
        GetFileInformationByHandleEx(file, class, ptr::from_mut(&mut info).cast(), size_of::<T>() as u32)
    })?;
    Ok(info)
}

fn kind(file: HANDLE, attributes: u32) -> FileKind {
    if attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        // SAFETY: the structure belongs to the class.
        if let Ok(tag) = unsafe { query::<FILE_ATTRIBUTE_TAG_INFO>(file, FileAttributeTagInfo) } {
            if tag.ReparseTag == IO_REPARSE_TAG_SYMLINK {
                return FileKind::Symlink;
            }
        }
    }
    if attributes & FILE_ATTRIBUTE_DIRECTORY != 0 { FileKind::Dir } else { FileKind::File }
}

fn join(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Hundreds of nanoseconds since 1601; 0: not kept.
fn time(stamp: FILETIME) -> Option<SystemTime> {
    const FROM_1601_TO_1970: u64 = 116_444_736_000_000_000;
    let ticks = join(stamp.dwHighDateTime, stamp.dwLowDateTime);
    let since = |ticks: u64| Duration::new(ticks / 10_000_000, (ticks % 10_000_000) as u32 * 100);
    match ticks {
        0 => None,
        _ if ticks >= FROM_1601_TO_1970 => SystemTime::UNIX_EPOCH.checked_add(since(ticks - FROM_1601_TO_1970)),
        _ => SystemTime::UNIX_EPOCH.checked_sub(since(FROM_1601_TO_1970 - ticks)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_times_count_from_1601() {
        let at = |ticks: u64| time(FILETIME { dwHighDateTime: (ticks >> 32) as u32, dwLowDateTime: ticks as u32 });
        assert_eq!(at(0), None);
        assert_eq!(at(116_444_736_000_000_000), Some(SystemTime::UNIX_EPOCH));
        assert_eq!(at(116_444_736_010_000_000), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
        assert_eq!(at(116_444_735_990_000_000), Some(SystemTime::UNIX_EPOCH - Duration::from_secs(1)));
    }
}
