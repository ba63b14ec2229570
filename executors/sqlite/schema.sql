-- Version 2. Instants are microseconds since 1970 by the store's clock; packed columns are little-endian.
-- A job's row id is run << 27 | job, a chunk's run << 20 | job >> 7: one integer key, so that a range is a run.

-- kinds: which sparse columns were ever written, a bit each. growing: lists that may be ready for items, as JSON.
-- tail: the last entries of the journal: the run's row is written with each step, so that small steps need no other.
CREATE TABLE run (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    key TEXT,
    name TEXT NOT NULL,
    base INTEGER NOT NULL,
    size INTEGER NOT NULL,
    open INTEGER NOT NULL,
    turn INTEGER NOT NULL DEFAULT 0,
    kinds INTEGER NOT NULL DEFAULT 0,
    growing TEXT NOT NULL DEFAULT '',
    openings INTEGER NOT NULL DEFAULT 1,
    cancelling INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    entries INTEGER NOT NULL DEFAULT 0,
    tail TEXT NOT NULL DEFAULT '',
    tail_from INTEGER NOT NULL DEFAULT 0,
    submitted_at INTEGER NOT NULL,
    deadline_at INTEGER,
    ended_at INTEGER,
    state TEXT,
    retire_at INTEGER
);
CREATE INDEX run_deadline ON run (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX run_retire ON run (retire_at) WHERE retire_at IS NOT NULL;
CREATE INDEX run_ended ON run (name, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX run_ended_at ON run (ended_at) WHERE ended_at IS NOT NULL;

-- What was submitted: one header a run, the rest by chunks of 128 jobs.
CREATE TABLE header (run INTEGER PRIMARY KEY, header BLOB NOT NULL, store TEXT NOT NULL, bodies TEXT NOT NULL);
CREATE TABLE plan (id INTEGER PRIMARY KEY, shape TEXT NOT NULL, rows BLOB NOT NULL);

-- The machine's columns, 128 jobs a row: state (1 byte a job), pending (4), ordinal (4), fence (8); sparse ones as JSON.
CREATE TABLE chunk (id INTEGER PRIMARY KEY, dense BLOB NOT NULL, sparse TEXT);

-- Lists whose items are known: each has the rows from first on: so many items of stride rows; one expanded again has
-- a further block where it has more items. A link says that the items of a list have edges from a job around it.
CREATE TABLE block (
    run INTEGER NOT NULL, first INTEGER NOT NULL, list INTEGER NOT NULL, body INTEGER NOT NULL,
    start INTEGER NOT NULL, items INTEGER NOT NULL, stride INTEGER NOT NULL, links TEXT NOT NULL,
    PRIMARY KEY (run, first)
) WITHOUT ROWID;
CREATE INDEX block_list ON block (run, list);
CREATE TABLE link (child INTEGER NOT NULL, list INTEGER NOT NULL, PRIMARY KEY (child, list)) WITHOUT ROWID;
CREATE TABLE item (
    list INTEGER NOT NULL, place INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (list, place)
) WITHOUT ROWID;

-- How jobs ended, and their attempts before the last.
CREATE TABLE result (id INTEGER PRIMARY KEY, payload BLOB, number INTEGER, started_at INTEGER, finished_at INTEGER, worker TEXT);
CREATE TABLE attempt (
    job INTEGER NOT NULL, place INTEGER NOT NULL, number INTEGER NOT NULL, outcome TEXT NOT NULL,
    started_at INTEGER NOT NULL, finished_at INTEGER NOT NULL, worker TEXT, payload BLOB,
    PRIMARY KEY (job, place)
) WITHOUT ROWID;

-- Jobs that failed for good by themselves and that nobody has seen to yet.
CREATE TABLE dead (place INTEGER PRIMARY KEY, job INTEGER NOT NULL UNIQUE, queue TEXT NOT NULL);
CREATE INDEX dead_queue ON dead (queue, place);

-- Where jobs wait. A lane is one run's in one queue at one priority; its jobs stand in segments, packed.
CREATE TABLE lane (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, priority INTEGER NOT NULL, queue TEXT NOT NULL, turn INTEGER
);
CREATE UNIQUE INDEX lane_of_run ON lane (run, priority, queue);
CREATE INDEX lane_turn ON lane (queue, priority, turn) WHERE turn IS NOT NULL;
CREATE TABLE segment (lane INTEGER NOT NULL, place INTEGER NOT NULL, jobs BLOB NOT NULL, PRIMARY KEY (lane, place)) WITHOUT ROWID;
CREATE TABLE delayed (
    run INTEGER NOT NULL, due_at INTEGER NOT NULL, place INTEGER NOT NULL, job INTEGER NOT NULL,
    PRIMARY KEY (run, due_at, place)
) WITHOUT ROWID;
CREATE INDEX delayed_due ON delayed (due_at);
CREATE INDEX delayed_job ON delayed (job);
CREATE TABLE suspect (place INTEGER PRIMARY KEY, queue TEXT NOT NULL, job INTEGER NOT NULL);
CREATE INDEX suspect_job ON suspect (job);

-- Queues that are limited or paused, and the order in which they are looked at.
CREATE TABLE queue (
    name TEXT PRIMARY KEY, turn INTEGER NOT NULL, concurrency INTEGER, starts INTEGER, period REAL,
    paused INTEGER NOT NULL DEFAULT 0, log TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX queue_limited ON queue (name) WHERE concurrency IS NOT NULL OR starts IS NOT NULL OR paused;
CREATE TABLE holding (job INTEGER PRIMARY KEY, queue TEXT NOT NULL, begun INTEGER NOT NULL);
CREATE INDEX holding_queue ON holding (queue);
-- Runs that could have claimed more of a limited queue, by turns: a place that comes free is the first's.
CREATE TABLE line (
    queue TEXT NOT NULL, run INTEGER NOT NULL, session INTEGER NOT NULL, place INTEGER NOT NULL,
    PRIMARY KEY (queue, run)
) WITHOUT ROWID;
CREATE INDEX line_session ON line (session);
CREATE INDEX line_run ON line (run);

-- Who works here: a session a process, whose lock says that it lives; its grants, a row for those made at once.
CREATE TABLE session (number INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER NOT NULL, began_at INTEGER NOT NULL);
-- Each step writes the claims and the one mark, which therefore stand on one page: the mark is the granted_at of claim
-- (0, 0, 0). It is the newest fence given, and the last time seen. Neither ever goes back.
CREATE TABLE claim (
    session INTEGER NOT NULL, run INTEGER NOT NULL, fence INTEGER NOT NULL, worker TEXT,
    granted_at INTEGER NOT NULL, until INTEGER, jobs BLOB NOT NULL, open INTEGER NOT NULL,
    PRIMARY KEY (session, run, fence)
) WITHOUT ROWID;
INSERT INTO claim VALUES (0, 0, 0, NULL, 0, NULL, x'', 0);
CREATE INDEX claim_until ON claim (until) WHERE until IS NOT NULL;

-- Steps of which the other tables do not tell yet, under the fence of what each has granted: a job has completed, and the
-- one that it released was granted at once. Few: whoever makes any other step carries them over first, and empties it.
CREATE TABLE ahead (
    fence INTEGER PRIMARY KEY, session INTEGER NOT NULL, job INTEGER NOT NULL, follower INTEGER NOT NULL,
    claim INTEGER NOT NULL, payload BLOB NOT NULL, started_at INTEGER NOT NULL, finished_at INTEGER NOT NULL,
    worker TEXT, at INTEGER NOT NULL, until INTEGER
);

-- What is told of a run: events, a row for some steps (run << 27 | the number of the first); progress and logs, a row a
-- job or line.
CREATE TABLE journal (id INTEGER PRIMARY KEY, entries TEXT NOT NULL);
CREATE TABLE progress (job INTEGER PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE log (job INTEGER NOT NULL, place INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (job, place)) WITHOUT ROWID;

-- Keys of runs, which outlive them, and results shared under keys of jobs.
CREATE TABLE key (
    key TEXT PRIMARY KEY, run TEXT NOT NULL, number INTEGER, name TEXT NOT NULL, fingerprint TEXT NOT NULL, free_at INTEGER
) WITHOUT ROWID;
CREATE INDEX key_number ON key (number) WHERE number IS NOT NULL;
CREATE INDEX key_free ON key (free_at) WHERE free_at IS NOT NULL;
CREATE TABLE shared (
    key TEXT PRIMARY KEY, run TEXT NOT NULL, job_id TEXT NOT NULL, job INTEGER NOT NULL, digest TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, payload BLOB, free_at INTEGER
) WITHOUT ROWID;
CREATE INDEX shared_run ON shared (run) WHERE done = 0;
CREATE INDEX shared_free ON shared (free_at) WHERE free_at IS NOT NULL;
CREATE TABLE shared_waiting (key TEXT NOT NULL, job INTEGER NOT NULL, PRIMARY KEY (key, job)) WITHOUT ROWID;
