/* Leases: claim, settle, extend, rescue, cancel and drain, over a network that loses replies and brings calls late.

   One run of one or two JOBS that wait for nothing (what follows from their end is sweep.pml), W workers of one slot each. A verb of the
   store is one atomic step, as it is under the lock of MemoryStore and in a script on Redis. What may happen at any
   time, as often as its budget says: a reply is lost, a copy of a call arrives late, a worker dies, a worker drains, the store
   forgets a loop's last reply, the store fails over to a copy of its past. What may happen at any time without
   a budget: a lease expires (time passes, or the clock jumps), the run is cancelled, a handler ends in any way.

   Each `-D` of the list in controls.py takes one protection away, and must be found out. */

#ifndef W
#define W 3
#endif
#ifndef JOBS
#define JOBS 1
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef FAULTS
#define FAULTS 2                /* replies lost, calls that arrive a second time, claims given back: so many in all */
#endif
#ifndef DEATHS
#define DEATHS 1                /* workers that die or drain: as all are alike, the last one */
#endif
#ifndef FORGETS
#define FORGETS 0               /* the record of a loop is gone: its time to live on Redis is an hour */
#endif
#ifndef FAILOVERS
#define FAILOVERS 0
#endif

#define LAST (JOBS - 1)
#ifndef LOST_LIMIT
#define LOST_LIMIT 3            /* flows/_state.py */
#endif

/* Job states, in the order of flows/_state.py. */
#define WAITING_CHILDREN 0
#define WAITING 1
#define DELAYED 2
#define ACTIVE 3
#define COMPLETED 4
#define FAILED 5
#define SKIPPED 6
#define CANCELLED 7
#define OVER(j) (st[j] >= COMPLETED)

/* Outcomes: `End` in flows/_verbs.py. */
#define NOTHING 0
#define DONE 1
#define RETRY 2                 /* at the last attempt: failed */
#define RELEASED 3

#define NO_LEASE 0
#define RUNNING_LEASE 1
#define EXPIRED 2

/* ---- The store: what a failover takes back. */
byte st[JOBS];
byte fence[JOBS];               /* 0 once the lease was lost (the code negates it): no settle bears it any more */
byte lease[JOBS];
byte lost[JOBS], made[JOBS];
byte mark;                      /* the newest fence given, where failovers are modelled; see NEXT_FENCE */
bit cancelling;
bit answered[W];                /* per loop: whether the last call answered is the one in flight, and the reply to it */
byte reply_job[W], reply_fence[W];
bit refused[W];
byte owner[JOBS];               /* ghost: to whom the newest grant of a job went */

/* ---- Workers: WorkerCore in flows/_worker.py, one slot. */
#define IDLE 0
#define GOT 1                   /* granted, not started */
#define RUN 2
#define OUT 3                   /* the outcome is to be settled */
#define GONE 4
byte phase[W];
byte got_job[W], got_fence[W], outcome[W];
bit flying[W], draining[W];     /* a call is in flight; one at a time */
byte call_fence[W], call_job[W], call_outcome[W];
bit call_wants[W];
bit took[W];                    /* ghost: the store has carried out the settle of the call in flight */
/* A copy of a call that is still under way: of the one in flight, or of an older one. Numbers of calls matter only so far. */
#define NO_COPY 0
#define OF_THIS 1
#define OF_OLDER 2
byte copied[W], copy_fence[W], copy_job[W], copy_outcome[W];
bit copy_wants[W];
bit late_extend[W];

byte faults = FAULTS, deaths = DEATHS, forgets = FORGETS, failovers = FAILOVERS;
byte starts[JOBS];              /* ghost: starts that were not taken back by a release */
byte time;

#if FAILOVERS > 0
/* What a replica knows that lags. */
byte o_st[JOBS], o_lease[JOBS], o_lost[JOBS], o_made[JOBS], o_mark, o_owner[JOBS];
byte o_fence[JOBS];
bit o_cancelling, o_refused[W];
bit o_answered[W];
byte o_job[W], o_reply[W];
bit kept;
#endif

/* ---- What the machine does: flows/_machine.py, executors/redis/lua/machine.lua. */

/* No part of the code: what does not matter any more gets one value, so that fewer states differ. */
inline forget(j) {
  made[j] = 0;
#ifndef RESCUE_BLIND
  lost[j] = 0;
  starts[j] = 0;
#endif
}

/* `settle`, settle(): terminal. Its edges are the sweep's affair. */
inline settle(j, end) {
  assert(!OVER(j));             /* S2: a job ends once */
  st[j] = end;
  forget(j)
}

/* `_requeue`, requeue() */
inline requeue(j, to) {
  if
#ifndef NO_CANCEL_CHECK
  :: cancelling -> settle(j, CANCELLED)
#endif
  :: else -> st[j] = to
  fi
}

/* ---- The verbs. */

/* Memory: Settling._settle_run, Settling._settle_otherwise. Redis: take_all(), settle_otherwise() in settling.lua. */
inline take_settle(w, j, f, how) {
  if
#ifndef NO_FENCE
  :: fence[j] != f -> refused[w] = 1
#endif
  :: else ->
    refused[w] = 0;
    if
#ifdef DEDUPE_BY_ID
    :: !(st[j] == ACTIVE && made[j] == 0)
#elif !defined(NO_GUARD)
    :: st[j] != ACTIVE          /* settled before by this very grant: the answer is the same */
#endif
    :: else ->
      assert(owner[j] == w && fence[j] == f);  /* S1: what counts comes from the newest grant */
      took[w] = 1;
#ifndef RESCUE_BLIND
      lease[j] = NO_LEASE;      /* Claims.drop; free(), write_freed() in lanes.lua */
#endif
      if
      :: how == DONE -> settle(j, COMPLETED)
      :: how == RELEASED -> requeue(j, WAITING)
      :: how == RETRY ->
        made[j]++;
        if
        :: made[j] >= ATTEMPTS -> settle(j, FAILED)
        :: else -> requeue(j, DELAYED)
        fi
      fi
    fi
  fi
}

/* Memory: Claims._grant. Redis: grant() in grants.lua. Which of the waiting jobs is left open. */
inline claim(w) {
  if
  :: st[0] == WAITING -> give(w, 0)
#if JOBS > 1
  :: st[1] == WAITING -> give(w, 1)
#endif
  :: else
  fi
}

#define BEARS(f) (fence[0] == f || fence[LAST] == f || HOLDS(0, f) || HOLDS(1, f) || HOLDS(W - 1, f))
#define HOLDS(w, f) (got_fence[w] == f || call_fence[w] == f || copy_fence[w] == f || reply_fence[w] == f)

/* Fences are compared for equality only. So where time plays no part, a new one is any that nobody bears any more; the
   code takes one that has never been. Where it does: max(mark, TIME) + 1. */
inline next_fence() {
#if FAILOVERS == 0
  mark = 1;
  do
  :: BEARS(mark) -> mark++
  :: else -> break
  od
#elif defined(PLAIN_FENCE)
  mark++
#else
  mark = (mark > time -> mark : time) + 1
#endif
}

inline give(w, j) {
  d_step {
    assert(!cancelling);        /* S6: nothing is handed out once the run is cancelled */
#if FORGETS == 0 && FAILOVERS == 0
    /* S4: a worker of one slot is never given a second job */
    assert(!(st[0] == ACTIVE && owner[0] == w) && !(st[LAST] == ACTIVE && owner[LAST] == w));
#endif
    next_fence();
    st[j] = ACTIVE;
    fence[j] = mark;
    lease[j] = RUNNING_LEASE;
    owner[j] = w;
    reply_job[w] = j;
    reply_fence[w] = mark;
#if FAILOVERS == 0
    mark = 0
#endif
  }
}

/* MemoryStore.exchange; exchange.lua. A repeated call changes nothing, the reply that is kept answers it. *call*: OF_THIS
   for the call in flight, which is the newest of its loop. */
inline exchange(w, call, j, f, how, wants) {
  if
#ifndef NO_SEQUENCE
  :: call == OF_THIS && answered[w]
#endif
#ifndef NO_STALE
  :: call == OF_OLDER           /* StaleCallError */
#endif
  :: else ->
    answered[w] = 1;
    refused[w] = 0;
    reply_fence[w] = 0;
    reply_job[w] = 0;
    if :: f > 0 -> take_settle(w, j, f, how) :: else fi;
    if :: wants -> claim(w) :: else fi
  fi
}

/* MemoryStore._lose; lose() in settling.lua */
inline lose(j) {
#ifndef NO_VOID
  fence[j] = 0;
#endif
  lease[j] = NO_LEASE;
  lost[j]++;
  if
#ifndef NO_LOST_LIMIT
  :: lost[j] >= LOST_LIMIT -> settle(j, FAILED)
#endif
  :: else -> requeue(j, WAITING)
  fi
}

/* MemoryStore.rescue; rescue.lua */
inline rescue(j) {
  if
#ifndef RESCUE_BLIND
  :: st[j] != ACTIVE -> lease[j] = NO_LEASE
#endif
  :: else -> lose(j)
  fi
}

/* Claims.extend; extend.lua. Nothing changes when it is refused. */
inline extend(w, j, f) {
  if
#ifdef EXTEND_BLIND
  :: st[j] == ACTIVE ->
#else
  :: st[j] == ACTIVE && fence[j] == f ->
#endif
    assert(owner[j] == w && fence[j] == f);    /* S5: a call of an old grant changes nothing */
    lease[j] = RUNNING_LEASE
  :: else
  fi
}

/* ---- Processes. */

/* There is a new call; in the code its number is greater. A copy of an older one is turned away. */
inline age_copy(w) {
#if FAILOVERS > 0
  o_answered[w] = 0;
#endif
  if
#ifdef NO_STALE
  :: copied[w] == OF_THIS -> copied[w] = OF_OLDER
#else
  :: copied[w] == OF_THIS -> drop_copy(w)
#endif
  :: else
  fi
}

inline drop_copy(w) {
  copied[w] = NO_COPY; copy_fence[w] = 0; copy_job[w] = 0; copy_outcome[w] = NOTHING; copy_wants[w] = 0
}

inline keep_copy(w) {
  copied[w] = OF_THIS; copy_fence[w] = call_fence[w]; copy_job[w] = call_job[w];
  copy_outcome[w] = call_outcome[w]; copy_wants[w] = call_wants[w]
}

/* The exchange thread (executors/_leasing/_workshop.py) and the hand that runs the job. */
proctype Worker(byte w) {
end:
  do
  /* WorkerCore._decide: claim when told that something waits, settle what has ended; one call in flight */
  :: atomic { phase[w] == IDLE && !flying[w] && !draining[w] && (st[0] == WAITING || st[LAST] == WAITING) ->
      flying[w] = 1; call_wants[w] = 1; age_copy(w)
    }
  :: atomic { phase[w] == OUT && !flying[w] ->
      flying[w] = 1; call_fence[w] = got_fence[w]; call_job[w] = got_job[w]; call_outcome[w] = outcome[w];
      call_wants[w] = !draining[w]; age_copy(w)
    }
  /* A copy of the call in flight is held up somewhere on the way. A request that is lost is one not yet sent again. */
  :: atomic { flying[w] && faults > 0 && copied[w] == NO_COPY ->
      faults--; keep_copy(w)
    }
  /* Carried out, but the reply is lost: `Unanswered`, and the same call again. */
  :: atomic { flying[w] && faults > 0 && !answered[w] ->
      faults--; exchange(w, OF_THIS, call_job[w], call_fence[w], call_outcome[w], call_wants[w])
    }
  /* Carried out or found to have been, and answered: WorkerCore.replied */
  :: atomic { flying[w] ->
      exchange(w, OF_THIS, call_job[w], call_fence[w], call_outcome[w], call_wants[w]);
      flying[w] = 0; answered[w] = 0;
      age_copy(w);              /* a copy of an answered call has its number: it is answered again, and changes nothing */
#if FAILOVERS == 0
      assert(call_fence[w] == 0 || refused[w] || took[w]);      /* S7: what was answered as taken was taken */
#endif
      call_fence[w] = 0; call_job[w] = 0; call_outcome[w] = NOTHING; call_wants[w] = 0; took[w] = 0; outcome[w] = NOTHING; refused[w] = 0;
      if
      :: reply_fence[w] == 0 -> phase[w] = IDLE; got_fence[w] = 0; got_job[w] = 0
      :: else ->
        got_job[w] = reply_job[w]; got_fence[w] = reply_fence[w];
        if
        :: draining[w] -> phase[w] = OUT; outcome[w] = RELEASED
        :: else -> phase[w] = GOT
        fi
      fi;
      reply_job[w] = 0; reply_fence[w] = 0
    }
  :: atomic { phase[w] == GOT && !draining[w] ->
      phase[w] = RUN;
#ifdef STARTS
      if
      :: !OVER(got_job[w]) ->
        starts[got_job[w]]++;
        assert(starts[got_job[w]] < ATTEMPTS + LOST_LIMIT)        /* S8 */
      :: else
      fi
#endif
    }
  :: atomic { (phase[w] == GOT && draining[w]) || ((phase[w] == GOT || phase[w] == RUN) && faults > 0) ->
      if :: draining[w] :: else -> faults-- fi;
#ifdef STARTS
      if
      :: phase[w] == RUN && starts[got_job[w]] > 0 -> starts[got_job[w]]--
      :: else
      fi;
#endif
      phase[w] = OUT; outcome[w] = RELEASED
    }
  :: atomic { phase[w] == RUN -> phase[w] = OUT; outcome[w] = DONE }
  :: atomic { phase[w] == RUN -> phase[w] = OUT; outcome[w] = RETRY }
  :: atomic { deaths > 0 && w == W - 1 && !draining[w] && phase[w] != GONE -> deaths--; draining[w] = 1 }
  :: atomic { draining[w] && phase[w] == IDLE && !flying[w] -> phase[w] = GONE }
  :: atomic { deaths > 0 && w == W - 1 && !draining[w] && phase[w] != GONE ->      /* kill -9; what it sent may still arrive */
      deaths--;
      if
      :: flying[w] && copied[w] == NO_COPY && !answered[w] -> keep_copy(w)
      :: true
      fi;
      phase[w] = GONE; flying[w] = 0; outcome[w] = NOTHING; call_wants[w] = 0;
      call_fence[w] = 0; call_job[w] = 0; call_outcome[w] = NOTHING; took[w] = 0; refused[w] = 0;
      reply_fence[w] = 0; reply_job[w] = 0; late_extend[w] = got_fence[w] > 0
    }
  od
}

/* KeeperCore in flows/_keeper.py: extends what is held; once more after its worker is dead, from the network. */
proctype Keeper(byte w) {
end:
  do
  :: atomic { phase[w] != GONE && got_fence[w] > 0 && lease[got_job[w]] == EXPIRED -> extend(w, got_job[w], got_fence[w]) }
  :: atomic { late_extend[w] && got_fence[w] > 0 && lease[got_job[w]] == EXPIRED ->
      late_extend[w] = 0; extend(w, got_job[w], got_fence[w]); got_fence[w] = 0; got_job[w] = 0
    }
  od
}

inline bring(w) {
  exchange(w, copied[w], copy_job[w], copy_fence[w], copy_outcome[w], copy_wants[w]);
  drop_copy(w);
  if
  :: !flying[w] -> answered[w] = 0; reply_fence[w] = 0; reply_job[w] = 0; refused[w] = 0; took[w] = 0
  :: else
  fi
}

/* Copies that arrive late. Nobody hears the answers. */
proctype Network() {
  byte w;
end:
  do
  :: atomic { copied[0] > NO_COPY -> w = 0; bring(w); w = 0 }
  :: atomic { copied[1] > NO_COPY -> w = 1; bring(w); w = 0 }
#if W > 2
  :: atomic { copied[2] > NO_COPY -> w = 2; bring(w); w = 0 }
#endif
  od
}

/* Time: leases expire, delays pass. */
proctype Clock() {
  byte j;
end:
  do
  :: atomic { lease[0] == RUNNING_LEASE -> lease[0] = EXPIRED }
#ifndef NO_WAKE
  :: atomic { st[0] == DELAYED -> st[0] = WAITING }              /* `wake`; wake_due() */
#endif
#if JOBS > 1
  :: atomic { lease[1] == RUNNING_LEASE -> lease[1] = EXPIRED }
  :: atomic { st[1] == DELAYED -> st[1] = WAITING }
#endif
  od
}

/* The keepers of all workers: `rescue`. */
proctype Rescuer() {
end:
  do
  :: atomic { lease[0] == EXPIRED -> rescue(0) }
#if JOBS > 1
  :: atomic { lease[1] == EXPIRED -> rescue(1) }
#endif
  od
}

/* MemoryStore.cancel, machine.cancel; cancel.lua, begin_cancel(), mark_cancelled(). (sweep.pml marks in chunks.) */
proctype Client() {
  byte j;
end:
  do
  :: atomic { !cancelling && !(OVER(0) && OVER(LAST)) ->
      cancelling = 1;
      for (j : 0 .. LAST) {
        if
        :: st[j] < ACTIVE -> settle(j, CANCELLED)
        :: else
        fi
      }
      j = 0
    }
  od
}

#if FORGETS > 0
proctype Forgetting() {
end:
  do
  :: atomic { forgets > 0 && answered[0] -> forgets--; answered[0] = 0 }
  od
}
#endif

#if FAILOVERS > 0
/* A replica that lags: the store as it was at some moment; then it is the store. Time goes on meanwhile. */

proctype Replica() {
  byte k;
end:
  do
  :: d_step { failovers > 0 && !kept ->
      kept = 1;
      for (k : 0 .. JOBS - 1) {
        o_st[k] = st[k]; o_lease[k] = lease[k]; o_lost[k] = lost[k]; o_made[k] = made[k]; o_fence[k] = fence[k];
        o_owner[k] = owner[k]
      }
      for (k : 0 .. W - 1) {
        o_answered[k] = answered[k]; o_job[k] = reply_job[k]; o_reply[k] = reply_fence[k]; o_refused[k] = refused[k]
      }
      o_mark = mark; o_cancelling = cancelling;
      k = 0
    }
  :: d_step { failovers > 0 && kept ->
      failovers--;
      time = mark;              /* a failover takes longer than the fences can have run ahead of the clock */
      for (k : 0 .. JOBS - 1) {
        st[k] = o_st[k]; lease[k] = o_lease[k]; lost[k] = o_lost[k]; made[k] = o_made[k]; fence[k] = o_fence[k];
        owner[k] = o_owner[k]
      }
      for (k : 0 .. W - 1) {
        answered[k] = o_answered[k]; reply_job[k] = o_job[k]; reply_fence[k] = o_reply[k]; refused[k] = o_refused[k]
      }
      mark = o_mark; cancelling = o_cancelling;
      k = 0
    }
  od
}
#endif

#define ALL_OVER (OVER(0) && OVER(LAST))

/* When nothing can happen any more, everything has ended: no job is left without a future. */
proctype Judge() {
end:
  do
  :: atomic { timeout -> assert(ALL_OVER); break }
  od
}

init {
  byte k;
  atomic {
    for (k : 0 .. LAST) { st[k] = WAITING }     /* `begin` */
    for (k : 0 .. W - 1) { run Worker(k); run Keeper(k) }
    k = 0;
    run Network(); run Clock();
#ifndef NO_RESCUE
    run Rescuer();
#endif
#ifndef NO_CANCEL
    run Client();
#endif
#if FORGETS > 0
    run Forgetting();
#endif
#if FAILOVERS > 0
    run Replica();
#endif
#ifndef LIVENESS
    run Judge()
#endif
  }
}

#ifdef LIVENESS
/* Under weak fairness: whatever happens, every job ends. */
ltl ends { <> ALL_OVER }
#endif
