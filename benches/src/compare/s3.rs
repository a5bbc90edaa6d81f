//! Uploads into S3: wharf beside the sum of a bare receiver, which discards what it reads, and a bare client, which sends as
//! much from memory by the same library in parts of the same size. No S3 server's own time is counted.

use std::path::Path;

use super::{
    Kind, Measured, Sizes,
    bench::{Bench, BenchError, Load},
    results::{FLOOR, Rounds, Section},
    servers, told,
};
use crate::{
    bed::{Bed, Programs},
    content::Content,
    workload::{Uploaded, Workload, in_turns, s3_throughput},
};

/// storage.s3.part_size_bytes.
const PART_BYTES: usize = 8 << 20;
const OPEN_FILES: u64 = 1000;

/// What is uploaded, and by how many connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) count: u32,
    pub(crate) length: usize,
    pub(crate) connections: u32,
}

impl Extent {
    fn bytes(self) -> usize {
        self.count as usize * self.length
    }
}

/// All rounds of one workload; what went wrong is added to the failures.
pub(crate) async fn section(
    workload: Workload,
    extent: Extent,
    (programs, place): (&Programs, &Path),
    (sizes, rounds): (&Sizes, u16),
    failures: &mut Vec<String>,
) -> Section {
    let mut section = Section::new(workload, sizes);
    section.servers = [FLOOR, "receiver", "client", "wharf"].map(Rounds::new).into();
    for round in 0..rounds {
        super::tell(&format!("{} {}/{rounds}", workload.name(), round + 1));
        match self::round(extent, programs, place, sizes, failures).await {
            Ok(figures) => section.servers.iter_mut().zip(figures).for_each(|(kept, one)| kept.rounds.push(one)),
            Err(error) => {
                failures.push(format!("{}, round {}: {}", workload.name(), round + 1, told(&error)));
                section.servers.iter_mut().for_each(|kept| kept.rounds.push(None));
            }
        }
    }
    section
}

/// The sum, the receiver, the client and wharf.
async fn round(
    extent: Extent,
    programs: &Programs,
    place: &Path,
    sizes: &Sizes,
    failures: &mut Vec<String>,
) -> Result<[Option<Measured>; 4], BenchError> {
    let recipe = servers::receiver()?;
    let target = recipe.start(place, OPEN_FILES).await?;
    let mut bench = Bench::new(&target, Kind::Floor, sizes);
    upload(&mut bench, extent).await?;
    let receiver = bench.measured.take();
    recipe.stop(target).await?;

    let bed = Bed::start(programs, None, true)?;
    let options = s3_throughput::BareOptions::new(bed.endpoint(), extent.count as usize, extent.length, PART_BYTES);
    let client = s3_throughput::run_bare(&options)?;
    let client = Some(Measured::of_processor(client.user_secs, client.system_secs, client.secs, extent.bytes()));
    drop(bed);

    let bed = Bed::start(programs, None, false)?;
    let settings = [format!("storage.s3.part_size_bytes={PART_BYTES}"), "storage.s3.payload_hash=always".to_owned()];
    let target = bed.wharf(programs, OPEN_FILES, &settings)?;
    let mut bench = Bench::new(&target, Kind::Wharf, sizes);
    let uploads = upload(&mut bench, extent).await?;
    bench.verify(&uploads).await?;
    let wharf = bench.measured.take().filter(|_| bench.failures.is_empty());
    failures.append(&mut bench.failures);
    target.stop().await?;
    let sum = receiver.as_ref().zip(client.as_ref()).map(|(receiver, client)| receiver.plus(client));
    Ok([sum, receiver, client, wharf])
}

async fn upload(bench: &mut Bench<'_>, extent: Extent) -> Result<Vec<Uploaded>, BenchError> {
    let Extent { count, length, connections } = extent;
    bench.begin(extent.bytes()).await?;
    let turns = in_turns(bench.site(), connections, count, async |connection, number| {
        let content = Content { seed: u64::from(number), length };
        let path = connection.create(length).await?;
        connection.append(&path, content, 0, length).await?;
        Ok((path, content))
    });
    let (uploads, latencies) = turns.await?;
    bench.end(Load { bytes: extent.bytes(), units: uploads.len(), latencies }).await?;
    Ok(uploads)
}
