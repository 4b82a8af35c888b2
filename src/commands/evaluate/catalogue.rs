//! The catalogue of an evaluation, in memory.

use connectors::{Batch, CatalogueRecord, Polled, RejectLog};
use dataflows::ItemRecord;
use schema::{Reason, id64};

use crate::config::Config;
use crate::engine::{Input, latest, rejected};
use crate::failure::Failure;
use crate::stop::Stop;

/// Reads all records, validated as a run with this configuration does. Rejected ones are logged. `None` if it was stopped.
pub(super) fn read(
    inputs: Vec<Input<CatalogueRecord>>,
    config: &Config,
    stop: &Stop,
) -> Result<Option<Vec<ItemRecord>>, Failure> {
    let latest = latest(config.input.max_skew);
    let mut rejects = RejectLog::default();
    let mut reject = |rejected: &schema::Rejected| {
        rejects.record(rejected).map_err(|error| Failure::Running(anyhow::Error::new(error)))
    };
    let mut records = Vec::new();
    for mut input in inputs {
        let mut batch = Batch::default();
        let mut polled = Polled::Ready;
        while polled != Polled::Finished {
            if stop.is_set() {
                return Ok(None);
            }
            batch.clear();
            polled = input.source.poll(&mut batch).map_err(|error| Failure::Running(error.into()))?;
            batch.rejected.iter().try_for_each(&mut reject)?;
            for (at, record) in (0..batch.len()).filter_map(|at| Some((at, batch.get(at)?))) {
                if record.ts > latest {
                    let reason = Reason::Future { ts: record.ts, limit: latest };
                    let record = rejected::<CatalogueRecord>(reason, &*input.source, &batch, at);
                    record.iter().try_for_each(&mut reject)?;
                    continue;
                }
                let statement = record.statement.clone();
                records.push(ItemRecord { item: id64(record.item), ts: record.ts, statement });
            }
        }
    }
    Ok(Some(records))
}
