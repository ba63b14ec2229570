/* Settle and sweep: what the end of a job does to those that depend on it, in chunks that anyone may continue.

       a ──┬─> p ──(skip)──┐        Job p needs a and b; so does q, but for it a failure of b does not count (ignore).
           │               ├─> c    Job c needs q, and is skipped where p has failed.
       b ──┴─> q ──────────┘

   A settle makes a job terminal and puts it on the line `later`; a call then applies CHUNK edges at most. So does each
   `sweep`, `exchange` and `rescue`, whoever makes it, and between any two of them anything may happen: handlers end,
   workers die, the run is cancelled, which marks MARK jobs a call. That grants and settles are fenced is proved
   by lease.pml; here a grant is simply taken back once its worker has died. */

#ifndef CHUNK
#define CHUNK 1
#endif
#ifndef MARK
#define MARK 2                  /* jobs that a call looks at to cancel them: 512 in machine.lua; memory marks all */
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

#define JOBS 5
#define A 0
#define B 1
#define P 2
#define Q 3
#define C 4

#define WAITING_CHILDREN 0
#define WAITING 1
#define ACTIVE 3
#define COMPLETED 4
#define FAILED 5
#define SKIPPED 6
#define CANCELLED 7
#define OVER(j) (st[j] >= COMPLETED)

/* RunState: flows/_state.py; the record and the course in executors/redis/lua/records.lua. */
byte st[JOBS];
byte pending[JOBS];
bit dooms[JOBS], skips[JOBS], cancels[JOBS];
bit applied[2 * JOBS];          /* ghost: this edge has been applied */
chan cascade = [JOBS] of { byte };      /* two lines: first in, first out */
chan later = [JOBS] of { byte };
byte sweeping = 255, position;
bit cancelling;
byte marking = 255;
byte granted[JOBS];             /* ghost: how often, without those grants whose worker died */
bit released[JOBS];             /* ghost */
byte deaths = DEATHS;

/* `settle`, `_end`; settle(), end_below(): terminate() */
inline terminate(j, end) {
  assert(!OVER(j));             /* a job ends once */
  st[j] = end
}

/* `_release`; make_ready() */
inline release(j) {
  assert(!released[j]);         /* a job that waited for its children is released once */
  released[j] = 1;
  st[j] = WAITING
}

/* `_decide`; decide() */
inline decide(j) {
  if
  :: dooms[j] -> terminate(j, FAILED); cascade!j
  :: !dooms[j] && cancels[j] -> terminate(j, CANCELLED); cascade!j
  :: !dooms[j] && !cancels[j] && pending[j] > 0 -> skip
  :: !dooms[j] && !cancels[j] && pending[j] == 0 && skips[j] -> terminate(j, SKIPPED); cascade!j
  :: !dooms[j] && !cancels[j] && pending[j] == 0 && !skips[j] -> release(j)
  fi
}

#define EDGES(j) (j == C -> 0 : (j <= B -> 2 : 1))
#define TARGET(j, n) (j >= P -> C : P + n)
#define IGNORES(j, d) (j == B && d == Q)
#define SKIPS(j, d) (j == P && d == C)

#define EDGE(j, d) (2 * j + (d == C -> 0 : d - P))

/* One edge: `_apply`, `_count`, `influence`; apply(), count(), influence() */
inline apply(j, d) {
  assert(!applied[EDGE(j, d)]); /* each edge counts once */
  applied[EDGE(j, d)] = 1;
#ifndef EARLY_RELEASE
  pending[d]--;
#endif
  if
  :: st[j] == COMPLETED || IGNORES(j, d)
  :: st[j] == FAILED && !IGNORES(j, d) && !SKIPS(j, d) -> dooms[d] = 1
  :: st[j] == FAILED && SKIPS(j, d) -> skips[d] = 1
  :: st[j] == SKIPPED && !IGNORES(j, d) -> skips[d] = 1
  :: st[j] == CANCELLED && !IGNORES(j, d) -> cancels[d] = 1
  fi;
  if
#ifdef NO_STATE_GUARD
  :: true -> decide(d)
#else
  :: st[d] == WAITING_CHILDREN -> decide(d)
#endif
  :: else
  fi
}

/* mark_cancelled() */
inline mark_some() {
  left = MARK;
  do
  :: marking < JOBS && left > 0 ->
    if
    :: st[marking] < ACTIVE -> terminate(marking, CANCELLED); cascade!marking
    :: else
    fi;
    marking++;
    left--
  :: else -> break
  od;
  if
  :: marking == JOBS -> marking = 255
  :: else
  fi
}

/* `sweep`; sweep() */
inline sweep() {
  if
  :: marking != 255 -> mark_some()
  :: else
  fi;
  if
  :: marking != 255
  :: else ->
    left = CHUNK;
    do
    :: left == 0 -> break
    :: left > 0 && sweeping == 255 && empty(cascade) && empty(later) -> break
    :: left > 0 && sweeping == 255 && nempty(cascade) -> cascade?sweeping; position = 0; last_of(sweeping)
    :: left > 0 && sweeping == 255 && empty(cascade) && nempty(later) -> later?sweeping; position = 0; last_of(sweeping)
    :: left > 0 && sweeping != 255 ->
      target = TARGET(sweeping, position);
      apply(sweeping, target);
      position++;
      left--;
      last_of(sweeping)
    od;
#ifdef NO_CURSOR
    position = 0;
#endif
    target = 0;
    left = 0
  fi
}

inline last_of(j) {
  if
  :: j != 255 && position >= EDGES(j) -> sweeping = 255; position = 0
  :: else
  fi
}

#define UNSWEPT (marking != 255 || sweeping != 255 || nempty(cascade) || nempty(later))

/* Settling._settle_run; take_all() */
inline settle(j, end) {
  terminate(j, end);
  later!j;
#ifdef EARLY_RELEASE
  for (k : 0 .. 1) {
    if
    :: k < EDGES(j) ->
      target = TARGET(j, k);
      pending[target]--;
      if
      :: st[target] == WAITING_CHILDREN && pending[target] == 0 && !dooms[target] && !skips[target] && !cancels[target] -> release(target)
      :: else
      fi
    :: else
    fi
  }
  target = 0;
#endif
  sweep()
}

/* What a grant may rely on: all children have ended well, and all that their ends do has been done. */
#define GOOD(j, d) (applied[EDGE(j, d)] && (st[j] == COMPLETED || (IGNORES(j, d) && OVER(j))))

/* Claims._grant; grant(), take_from() */
inline grant(j) {
#ifndef CLAIM_WHILE_MARKING
  assert(!cancelling);          /* nothing is handed out once the run is cancelled */
#endif
  assert(j != P || (GOOD(A, P) && GOOD(B, P)));
  assert(j != Q || (GOOD(A, Q) && GOOD(B, Q)));
  assert(j != C || (GOOD(P, C) && GOOD(Q, C)));
  granted[j]++;
  assert(granted[j] == 1);      /* a job that is not lost is granted once */
  st[j] = ACTIVE
}

/* `_requeue` */
inline rescue(j) {
  granted[j]--;
  if
  :: cancelling -> settle(j, CANCELLED)
  :: else -> st[j] = WAITING
  fi
}

#define HAND(j) \
  :: d_step { st[j] == WAITING && !cancelling -> grant(j) } \
  :: d_step { st[j] == ACTIVE -> settle(j, COMPLETED); k = 0 } \
  :: d_step { st[j] == ACTIVE -> settle(j, FAILED); k = 0 } \
  :: d_step { st[j] == ACTIVE && deaths > 0 -> deaths--; rescue(j); k = 0 }

proctype Workers() {
  byte k, left, target;
end:
  do
  HAND(A)
  HAND(B)
  HAND(P)
  HAND(Q)
  HAND(C)
  od
}

/* Anyone: the sweep at the beginning of an exchange, in `rescue`, or by a client. */
proctype Sweeper() {
  byte k, left, target;
#ifdef DRAIN_FIRST
  byte mine = 255;
#endif
end:
  do
#ifdef DRAIN_FIRST
  /* Takes the entry off the line in one step, applies its edges in the next, and may die in between. */
  :: d_step { mine == 255 && sweeping == 255 && empty(cascade) && nempty(later) -> later?mine; k = 0 }
  :: d_step { mine != 255 && sweeping == 255 -> sweeping = mine; mine = 255; position = 0; last_of(sweeping) }
  :: d_step { mine != 255 && deaths > 0 -> deaths--; mine = 255 }
#endif
  :: d_step { UNSWEPT -> sweep(); k = 0 }
  od
}

proctype Client() {
  byte k, left, target;
end:
  do
  :: d_step { !cancelling && !(OVER(A) && OVER(B) && OVER(P) && OVER(Q) && OVER(C)) ->
      cancelling = 1; marking = 0; sweep(); k = 0
    }
  od
}

/* When nothing can happen any more: every job has ended, and as the table of policies says. */
#define FAILS(j) (st[j] == FAILED)
proctype Judge() {
end:
  do
  :: atomic { timeout ->
      assert(OVER(A) && OVER(B) && OVER(P) && OVER(Q) && OVER(C));
      if
      :: !cancelling ->
        assert(!(FAILS(A) || FAILS(B)) || (FAILS(P) && granted[P] == 0));
        assert(!FAILS(A) || (FAILS(Q) && granted[Q] == 0));
        assert(FAILS(A) || granted[Q] == 1);
        assert(FAILS(A) || FAILS(B) || granted[P] == 1);
        assert(!FAILS(Q) || FAILS(C));
        assert(FAILS(Q) || !FAILS(P) || st[C] == SKIPPED);
        assert(FAILS(Q) || FAILS(P) || granted[C] == 1)
      :: else
      fi;
      break
    }
  od
}

init {
  atomic {
    st[A] = WAITING; st[B] = WAITING;   /* `begin` */
    pending[P] = 2; pending[Q] = 2; pending[C] = 2;
    run Workers(); run Sweeper();
#ifndef NO_CANCEL
    run Client();
#endif
#ifndef LIVENESS
    run Judge()
#endif
  }
}

#ifdef LIVENESS
ltl ends { <> (OVER(A) && OVER(B) && OVER(P) && OVER(Q) && OVER(C)) }
#endif
