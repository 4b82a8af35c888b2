//! The one module of this crate with `unsafe`, and only with the feature `abomonation`; why it is there and why it is
//! off is told in `docs/decisions/0004-snapshots.md`.
#![allow(unsafe_code)]

use ::abomonation::{decode, encode};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;
use zerocopy::IntoBytes;

use crate::frame::Kind;
use crate::interactions::Record;
use crate::{Codec, CodecError, Interactions};

/// Records through `abomonation`, one by one, in the frame of [`Records`](crate::Records). A file is read only by the
/// build that wrote it: same version, compiler, target and profile.
pub struct Abomonation;

fn kind() -> Kind {
    Kind { magic: *b"abomonat", build: xxh3_64(env!("DELTAREC_BUILD").as_bytes()) }
}

// No padding: every byte of a record is a byte of a field.
const _: () = assert!(size_of::<Record>() == size_of::<u32>() + size_of::<u32>() + size_of::<u64>());
// A buffer of u64 is aligned for records, and so is each multiple of a record's size in it.
const _: () =
    assert!(align_of::<Record>() == align_of::<u64>() && size_of::<Record>().is_multiple_of(align_of::<u64>()));

impl ::abomonation::Abomonation for Record {}

impl Codec for Abomonation {
    fn name(&self) -> &'static str {
        "abomonation"
    }

    fn encode(&self, rows: &Interactions) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(size_of_val(rows.records()));
        for record in rows.records() {
            // SAFETY: `encode` reads the record as bytes, which is defined because it has no padding (asserted above);
            // it has no pointers, so nothing of this process's memory gets out.
            unsafe { encode(record, &mut bytes) }.map_err(|error| CodecError::Unwritable(error.to_string()))?;
        }
        Ok(kind().wrap(rows, &bytes))
    }

    fn recognise(&self, file: &Bytes) -> Result<(), CodecError> {
        kind().recognise(file)
    }

    fn decode(&self, file: &Bytes) -> Result<Interactions, CodecError> {
        let frame = kind().unwrap(file)?;
        let mut buffer = vec![0_u64; frame.records.len().div_ceil(size_of::<u64>())];
        let mut rest = &mut buffer.as_mut_bytes()[..frame.records.len()];
        rest.copy_from_slice(frame.records);
        let mut records = Vec::with_capacity(rest.len() / size_of::<Record>());
        while !rest.is_empty() {
            // SAFETY: the four conditions under which no compiler is known to go wrong here:
            // 1. `Record` is `repr(C)` without padding (asserted above);
            // 2. it has no pointers, and all bytes are a valid value (`FromBytes` is derived for it);
            // 3. the buffer is aligned for it: it begins as `u64`s and is walked by whole records;
            // 4. the bytes were written by this build on a machine of this kind: magic, byte order, layout, build and
            //    checksum have been compared by `Kind::unwrap`.
            // It is unsound even so: `decode` makes a reference to the record from one to its first byte, which Miri
            // rejects under Stacked Borrows (RUSTSEC-2021-0120). So the feature is off.
            let decoded = unsafe { decode::<Record>(rest) };
            let (record, after) = decoded.ok_or_else(|| CodecError::damaged("it ends within a record"))?;
            records.push(*record);
            rest = after;
        }
        frame.rows(records)
    }
}
