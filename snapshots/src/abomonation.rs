//! The codec of the feature `abomonation`: the only module of this crate with `unsafe`. `docs/decisions/0004-snapshots.md`
//! explains why it exists and why it is off by default.
#![allow(unsafe_code)]

use ::abomonation::{decode, encode};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;
use zerocopy::IntoBytes;

use crate::frame::FrameFormat;
use crate::interactions::Record;
use crate::{Codec, CodecError, Interactions};

/// Records encoded by `abomonation`, one by one, in the frame of [`Records`](crate::Records). Only the build that wrote a
/// file reads it: same version, compiler, target and profile.
pub struct Abomonation;

fn format() -> FrameFormat {
    FrameFormat { magic: *b"abomonat", build: xxh3_64(env!("DELTAREC_BUILD").as_bytes()) }
}

// No padding: every byte of a record is a byte of a field.
const _: () = assert!(size_of::<Record>() == size_of::<u32>() + size_of::<u32>() + size_of::<u64>());
// A buffer of u64 is aligned for records, and so is every multiple of the record size in it.
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
            // it has no pointers, so no address of this process leaks.
            unsafe { encode(record, &mut bytes) }.map_err(|error| CodecError::Unwritable(error.to_string()))?;
        }
        Ok(format().wrap(rows, &bytes))
    }

    fn recognise(&self, file: &Bytes) -> Result<(), CodecError> {
        format().recognise(file)
    }

    fn decode(&self, file: &Bytes) -> Result<Interactions, CodecError> {
        let frame = format().unwrap(file)?;
        let mut buffer = vec![0_u64; frame.records.len().div_ceil(size_of::<u64>())];
        let mut rest = &mut buffer.as_mut_bytes()[..frame.records.len()];
        rest.copy_from_slice(frame.records);
        let mut records = Vec::with_capacity(rest.len() / size_of::<Record>());
        while !rest.is_empty() {
            // SAFETY: four conditions under which no compiler is known to miscompile this:
            // 1. `Record` is `repr(C)` without padding (asserted above);
            // 2. it has no pointers, and any bytes are a valid value (it derives `FromBytes`);
            // 3. the buffer is aligned for it: it is made of `u64`s and is read in whole records;
            // 4. this build wrote the bytes on a machine of this kind: `FrameFormat::unwrap` compared magic, byte order,
            //    layout, build and checksum.
            // It is still unsound: `decode` turns a reference to the first byte into one to the record, which Miri rejects
            // under Stacked Borrows (RUSTSEC-2021-0120). So the feature is off.
            let decoded = unsafe { decode::<Record>(rest) };
            let (record, after) = decoded.ok_or_else(|| CodecError::damaged("it ends within a record"))?;
            records.push(*record);
            rest = after;
        }
        frame.rows(records)
    }
}
