//! How large the loads are.

/// How much of everything.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Sizes {
    /// The size of the one large upload, in MiB
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) large_mib: u32,
    /// How many uploads share 16 connections
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) medium: u32,
    /// The size of each, in MiB
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) medium_mib: u32,
    /// How many small uploads are made: of 16 KiB by POST, PATCH and HEAD, and of 4 KiB by one POST
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) small: u32,
    /// How many HEADs are sent
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) heads: u32,
    /// The size of the file that is downloaded as one, in MiB
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) download_mib: u32,
    /// How many small files are downloaded
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) downloads: u32,
    /// The size of the upload that is sent in PATCHes of 1 MiB
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pieces_mib: u32,
    /// How many uploads stall at once
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) stalled: u32,
    /// How many stalled uploads are taken over
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) take_overs: u32,
    /// How many slow clients are there beside the fast one
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slow: u32,
}

impl Sizes {
    /// As small as can be while each workload still does all that it does.
    pub(crate) fn quick() -> Self {
        Self {
            large_mib: 64,
            medium: 20,
            medium_mib: 2,
            small: 200,
            heads: 500,
            download_mib: 32,
            downloads: 200,
            pieces_mib: 8,
            stalled: 100,
            take_overs: 30,
            slow: 20,
        }
    }
}
