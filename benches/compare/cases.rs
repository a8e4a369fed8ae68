//! What is measured.

use crate::servers::Kind;

/// A case: what `tidings bench` is told, and which of its figures count.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) figures: &'static [Figure],
    /// Whether it asks for what Tidings alone can do.
    needs: Needs,
}

/// What a server must be able to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Send events to readers.
    Nothing,
    /// Keep events for those who come back.
    History,
    /// Match patterns with wildcards.
    Patterns,
    /// Speak HTTP/2 without TLS.
    Http2,
}

/// A figure in a report.
pub(crate) struct Figure {
    pub(crate) title: &'static str,
    /// Where it stands, as a JSON pointer.
    pub(crate) pointer: &'static str,
    pub(crate) decimals: usize,
    /// Whether a ratio to the floor says something.
    pub(crate) to_floor: bool,
}

const fn figure(title: &'static str, pointer: &'static str, decimals: usize) -> Figure {
    Figure {
        title,
        pointer,
        decimals,
        to_floor: true,
    }
}

const CPU: Figure = figure("CPU µs a delivery", "/cpu/server_us_per_delivery", 2);
const CPU_CONNECT: Figure = figure("CPU µs a connect", "/cpu/server_us_per_connect", 0);
/// Below the rate asked for where a server answers too late; above it nothing is offered.
const PUBLISHED: Figure = Figure {
    title: "published/s",
    pointer: "/publish/per_second",
    decimals: 1,
    to_floor: false,
};
const DELIVERIES: Figure = figure("deliveries/s", "/deliveries/per_second", 0);
const DELAY_50: Figure = figure("delay p50, ms", "/delay_ms/p50", 1);
const DELAY_99: Figure = figure("delay p99, ms", "/delay_ms/p99", 1);
const ANSWER_99: Figure = Figure {
    to_floor: false,
    ..figure("a publish's answer p99, ms", "/publish/ack_ms/p99", 1)
};
const CONNECT: Figure = figure("all connected, s", "/connect/seconds", 2);
const MEMORY: Figure = Figure {
    title: "KiB a reader, all growth",
    pointer: "/memory/points/0/kib_per_reader",
    decimals: 2,
    to_floor: false,
};

const MEMORY_AT_TWO: &[Figure] = &[
    Figure {
        title: "KiB of the process before the first",
        pointer: "/memory/before_kib",
        decimals: 0,
        ..MEMORY
    },
    Figure {
        title: "KiB a reader, all growth, at 5,000",
        ..MEMORY
    },
    Figure {
        title: "the same at 15,000",
        pointer: "/memory/points/1/kib_per_reader",
        ..MEMORY
    },
    Figure {
        title: "KiB a further reader in between",
        pointer: "/memory/further_kib_per_reader",
        ..MEMORY
    },
];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "1000x20",
        title: "1,000 readers, 20 events/s",
        arguments: &["--readers=1000", "--events=200", "--rate=20"],
        figures: &[PUBLISHED, CPU, DELAY_50, DELAY_99, ANSWER_99],
        needs: Needs::Nothing,
    },
    Case {
        name: "5000x20",
        title: "5,000 readers, 20 events/s",
        arguments: &["--readers=5000", "--events=200", "--rate=20"],
        figures: &[PUBLISHED, CPU, DELAY_50, DELAY_99, ANSWER_99],
        needs: Needs::Nothing,
    },
    Case {
        name: "15000x4",
        title: "15,000 readers, 4 events/s",
        arguments: &["--readers=15000", "--events=40", "--rate=4"],
        figures: &[PUBLISHED, CPU, DELAY_50, DELAY_99, ANSWER_99],
        needs: Needs::Nothing,
    },
    Case {
        name: "3000x500",
        title: "3,000 readers, 500 events/s",
        arguments: &[
            "--readers=3000",
            "--events=4000",
            "--rate=500",
            "--seconds=8",
        ],
        figures: &[PUBLISHED, DELIVERIES, CPU, DELAY_99, ANSWER_99],
        needs: Needs::Nothing,
    },
    Case {
        name: "idle",
        title: "idle readers",
        arguments: &["--readers=15000", "--idle", "--memory-at=5000"],
        figures: MEMORY_AT_TWO,
        needs: Needs::Nothing,
    },
    Case {
        name: "feeds",
        title: "15,000 idle readers, a feed each",
        arguments: &[
            "--readers=15000",
            "--idle",
            "--feed-per-reader",
            "--memory-at=5000",
        ],
        figures: MEMORY_AT_TWO,
        needs: Needs::Nothing,
    },
    Case {
        name: "at-once",
        title: "4,000 connects at once",
        arguments: &["--readers=4000", "--idle", "--connect-at-once=4000"],
        figures: &[CONNECT, CPU_CONNECT],
        needs: Needs::Nothing,
    },
    Case {
        name: "in-a-row",
        title: "10,000 connects, one after the other",
        arguments: &["--readers=10000", "--idle", "--connect-at-once=1"],
        figures: &[CONNECT, CPU_CONNECT],
        needs: Needs::Nothing,
    },
    Case {
        name: "publish",
        title: "64 publishers to 15,000 feeds with a reader each",
        arguments: &[
            "--readers=15000",
            "--feed-per-reader",
            "--publishers=64",
            "--events=60000",
            "--seconds=15",
        ],
        figures: &[
            figure("publishes/s", "/publish/per_second", 0),
            figure(
                "CPU µs a publish and its delivery",
                "/cpu/server_us_per_publish",
                1,
            ),
            figure("answer p50, ms", "/publish/ack_ms/p50", 1),
            figure("answer p99, ms", "/publish/ack_ms/p99", 1),
            DELAY_99,
        ],
        needs: Needs::Nothing,
    },
    Case {
        name: "patterns",
        title: "5,000 readers with other patterns each (4 each, 1,000 feeds, 200 events/s)",
        arguments: &[
            "--readers=5000",
            "--feeds=1000",
            "--patterns-per-reader=4",
            "--events=2000",
            "--rate=200",
        ],
        figures: &[DELIVERIES, CPU, DELAY_50, DELAY_99],
        needs: Needs::Patterns,
    },
    Case {
        name: "sets",
        title: "5,000 readers, 20 events/s, for each reader by 20 other patterns",
        arguments: &[
            "--readers=5000",
            "--feeds=20",
            "--patterns-per-reader=20",
            "--match-all",
            "--events=200",
            "--rate=20",
        ],
        figures: &[PUBLISHED, CPU, DELAY_50, DELAY_99, ANSWER_99],
        needs: Needs::Patterns,
    },
    Case {
        name: "4k",
        title: "1,000 readers, 20 events/s of 4 KiB",
        arguments: &[
            "--readers=1000",
            "--events=200",
            "--rate=20",
            "--payload=4096",
        ],
        figures: &[PUBLISHED, CPU, DELAY_50, DELAY_99, ANSWER_99],
        needs: Needs::Nothing,
    },
    Case {
        name: "stalled",
        title: "the same, and 1,000 beside them that never read",
        arguments: &[
            "--readers=1000",
            "--stalled=1000",
            "--events=200",
            "--rate=20",
            "--payload=4096",
        ],
        figures: &[PUBLISHED, CPU, DELAY_50, DELAY_99, ANSWER_99],
        needs: Needs::Nothing,
    },
    Case {
        name: "resume",
        title: "10,000 readers come back for 100 events each",
        arguments: &[
            "--readers=10000",
            "--resume-events=100",
            "--connect-at-once=1000",
        ],
        figures: &[
            Figure {
                title: "until the last has all, s",
                pointer: "/deliveries/seconds",
                decimals: 2,
                to_floor: false,
            },
            Figure {
                to_floor: false,
                ..CPU
            },
        ],
        needs: Needs::History,
    },
    Case {
        name: "h2-5000x20",
        title: "HTTP/2: 5,000 readers, 20 events/s",
        arguments: &["--http2", "--readers=5000", "--events=200", "--rate=20"],
        figures: &[PUBLISHED, CPU, DELAY_50, DELAY_99, ANSWER_99],
        needs: Needs::Http2,
    },
    Case {
        name: "h2-3000x500",
        title: "HTTP/2: 3,000 readers, 500 events/s",
        arguments: &[
            "--http2",
            "--readers=3000",
            "--events=4000",
            "--rate=500",
            "--seconds=8",
        ],
        figures: &[PUBLISHED, DELIVERIES, CPU, DELAY_99, ANSWER_99],
        needs: Needs::Http2,
    },
    Case {
        name: "h2-shared",
        title: "HTTP/2: 5,000 readers, 100 on each connection, 20 events/s",
        arguments: &[
            "--http2",
            "--streams-per-connection=100",
            "--readers=5000",
            "--events=200",
            "--rate=20",
        ],
        figures: &[PUBLISHED, CPU, DELAY_50, DELAY_99, ANSWER_99],
        needs: Needs::Http2,
    },
    Case {
        name: "h2-idle",
        title: "HTTP/2: idle readers",
        arguments: &["--http2", "--readers=15000", "--idle", "--memory-at=5000"],
        figures: MEMORY_AT_TWO,
        needs: Needs::Http2,
    },
];

impl Case {
    pub(crate) fn runs_on(&self, kind: Kind) -> bool {
        match self.needs {
            Needs::Nothing => true,
            Needs::History => kind != Kind::Floor,
            Needs::Patterns | Needs::Http2 => kind == Kind::Tidings,
        }
    }
}
