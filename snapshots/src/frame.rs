//! The file format around records that are copied from memory. All numbers are in the byte order of the machine that
//! wrote them.
//!
//! ```text
//!  0  magic          8 bytes, of the codec
//!  8  byte order     u32, 0x0A0B0C0D in that byte order
//! 12  version        u32, of this layout: 1, or 2 with rooms
//! 16  record size    u32, 16
//! 20  record align   u32, 8
//! 24  build          u64, must equal that of the program that reads; 0: any
//! 32  users          u32, number of names
//! 36  items          u32
//! 40  rows           u64
//! 48  user text      u32, in bytes
//! 52  item text      u32, in bytes
//! 56  checksum       u64, XXH3-64 of everything after it, seeded with the XXH3-64 of everything before it
//! 64  records        rows times user u32, item u32, ts << 8 | code of the effect u64
//!     user ends      users times u32, the end of each name in the text
//!     item ends      items times u32
//!     user text      UTF-8, all names concatenated
//!     item text
//! ```
//!
//! Version 2 continues with
//!
//! ```text
//!     rooms          u32, number of names
//!     in rooms       u32, number of rows with an entry; the others are in no room
//!     room text      u32, in bytes
//!     in rooms       in rooms times u32: the index of the room, from 1, or 0
//!     room ends      rooms times u32
//!     room text
//! ```
//!
//! A record refers to its user and item by index. The payload is not read before size and checksum are verified.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::interactions::Record;
use crate::names::NameTable;
use crate::{CodecError, Interactions};

const ORDER: u32 = 0x0A0B_0C0D;
const VERSION: u32 = 1;
const WITH_ROOMS: u32 = 2;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    order: u32,
    version: u32,
    record_size: u32,
    record_align: u32,
    build: u64,
    users: u32,
    items: u32,
    rows: u64,
    user_text: u32,
    item_text: u32,
    checksum: u64,
}

const HEADER: usize = 64;
const SEALED: usize = 56;
const _: () = assert!(size_of::<Header>() == HEADER);

/// Identifies the files of a codec.
pub(crate) struct FrameFormat {
    pub(crate) magic: [u8; 8],
    /// Files of another build are rejected; 0: any build is accepted.
    pub(crate) build: u64,
}

/// A file with verified header, size and checksum.
pub(crate) struct Frame<'f> {
    /// Whole records, of any alignment.
    pub(crate) records: &'f [u8],
    users: (&'f [u8], &'f [u8]),
    items: (&'f [u8], &'f [u8]),
    /// Text and ends of the rooms, and the room of each row.
    rooms: Option<((&'f [u8], &'f [u8]), &'f [u8])>,
}

impl FrameFormat {
    /// Wraps records into a whole file.
    pub(crate) fn wrap(&self, rows: &Interactions, records: &[u8]) -> Vec<u8> {
        let (users, items) = rows.tables();
        let (rooms, in_rooms) = rows.rooms();
        let mut header = Header {
            magic: self.magic,
            order: ORDER,
            version: if in_rooms.is_empty() { VERSION } else { WITH_ROOMS },
            record_size: size_of::<Record>() as u32,
            record_align: align_of::<Record>() as u32,
            build: self.build,
            users: users.len() as u32,
            items: items.len() as u32,
            rows: rows.len() as u64,
            user_text: users.text().len() as u32,
            item_text: items.text().len() as u32,
            checksum: 0,
        };
        let parts = [
            records,
            users.ends().as_bytes(),
            items.ends().as_bytes(),
            users.text().as_bytes(),
            items.text().as_bytes(),
        ];
        let counts = [rooms.len() as u32, in_rooms.len() as u32, rooms.text().len() as u32];
        let of_rooms = [counts.as_bytes(), in_rooms.as_bytes(), rooms.ends().as_bytes(), rooms.text().as_bytes()];
        let parts = parts.into_iter().chain(of_rooms.into_iter().filter(|_| !in_rooms.is_empty()));
        let mut file = Vec::with_capacity(HEADER + parts.clone().map(<[u8]>::len).sum::<usize>());
        file.extend_from_slice(header.as_bytes());
        for part in parts {
            file.extend_from_slice(part);
        }
        header.checksum = checksum(&file);
        file[..HEADER].copy_from_slice(header.as_bytes());
        file
    }

    /// Checks whether a file is of this format.
    pub(crate) fn recognise(&self, file: &[u8]) -> Result<(), CodecError> {
        self.header(file).map(|_| ())
    }

    fn header<'f>(&self, file: &'f [u8]) -> Result<(Header, &'f [u8]), CodecError> {
        let (header, payload) =
            Header::read_from_prefix(file).map_err(|_| CodecError::damaged("it ends within its header"))?;
        self.check_origin(&header)?;
        Ok((header, payload))
    }

    /// Splits a file into its parts.
    pub(crate) fn unwrap<'f>(&self, file: &'f [u8]) -> Result<Frame<'f>, CodecError> {
        let (header, payload) = self.header(file)?;
        let sizes = [
            header.rows.checked_mul(size_of::<Record>() as u64),
            Some(4 * u64::from(header.users)),
            Some(4 * u64::from(header.items)),
            Some(header.user_text.into()),
            Some(header.item_text.into()),
        ];
        let size = sizes.iter().try_fold(0_u64, |sum, size| sum.checked_add((*size)?));
        let has_rooms = header.version == WITH_ROOMS;
        if size.is_none_or(|size| size > payload.len() as u64 || (size < payload.len() as u64) != has_rooms) {
            return Err(CodecError::damaged(format!("its header does not fit its {} bytes", file.len())));
        }
        if checksum(file) != header.checksum {
            return Err(CodecError::damaged("its checksum is wrong"));
        }
        let mut rest = payload;
        let mut part = |size: Option<u64>| {
            let (part, after) = rest.split_at(size.map_or(0, |size| size as usize));
            rest = after;
            part
        };
        let [records, user_ends, item_ends, user_text, item_text] = sizes.map(&mut part);
        let rooms = has_rooms.then(|| take_rooms(rest)).transpose()?;
        Ok(Frame { records, users: (user_text, user_ends), items: (item_text, item_ends), rooms })
    }

    fn check_origin(&self, header: &Header) -> Result<(), CodecError> {
        if header.magic != self.magic {
            return Err(CodecError::damaged("it does not start like a file of this format"));
        }
        if header.order == ORDER.swap_bytes() {
            return Err(CodecError::Foreign("a machine of the other byte order".into()));
        }
        if header.order != ORDER {
            return Err(CodecError::damaged("its byte order is unknown"));
        }
        if ![VERSION, WITH_ROOMS].contains(&header.version) {
            let found = header.version;
            return Err(CodecError::Foreign(format!(
                "another deltarec, in format {found}; this one supports formats up to {WITH_ROOMS}"
            )));
        }
        if (header.record_size, header.record_align) != (size_of::<Record>() as u32, align_of::<Record>() as u32) {
            return Err(CodecError::Foreign("a program with another layout of records".into()));
        }
        if header.build != self.build {
            return Err(CodecError::Foreign("another build of deltarec, and only the same build can read it".into()));
        }
        Ok(())
    }
}

impl Frame<'_> {
    /// Decodes the rows, given the records that were copied out of [`Self::records`].
    pub(crate) fn rows(&self, records: Vec<Record>) -> Result<Interactions, CodecError> {
        let table = |(text, ends): (&[u8], &[u8])| NameTable::checked(text, copied(ends)?);
        let rows = Interactions::checked(table(self.users)?, table(self.items)?, records)?;
        match self.rooms {
            None => Ok(rows),
            Some((rooms, in_rooms)) => rows.checked_rooms(table(rooms)?, copied(in_rooms)?),
        }
    }
}

/// Splits the part after the item names: text and ends of the rooms, and the room of each row.
#[expect(clippy::type_complexity, reason = "three parts of a file")]
fn take_rooms(bytes: &[u8]) -> Result<((&[u8], &[u8]), &[u8]), CodecError> {
    let mismatch = || CodecError::damaged("its header does not fit its rooms");
    let (counts, rest) = <[u32; 3]>::read_from_prefix(bytes).map_err(|_| mismatch())?;
    let [rooms, rows, text] = counts.map(u64::from);
    if 4 * rows + 4 * rooms + text != rest.len() as u64 {
        return Err(mismatch());
    }
    let (in_rooms, rest) = rest.split_at(4 * rows as usize);
    let (ends, text) = rest.split_at(4 * rooms as usize);
    Ok(((text, ends), in_rooms))
}

/// Copies whole values out of bytes of any alignment, with a single copy.
pub(crate) fn copied<T: FromBytes + IntoBytes>(bytes: &[u8]) -> Result<Vec<T>, CodecError> {
    let mut values = T::new_vec_zeroed(bytes.len() / size_of::<T>())
        .map_err(|_| CodecError::damaged("more rows than memory can hold"))?;
    values.as_mut_slice().as_mut_bytes().copy_from_slice(bytes);
    Ok(values)
}

/// The checksum of everything but itself.
fn checksum(file: &[u8]) -> u64 {
    xxh3_64_with_seed(&file[HEADER..], xxh3_64(&file[..SEALED]))
}
