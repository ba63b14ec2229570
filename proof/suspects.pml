/* Suspects: a handler that kills its process takes no other job with it for good, whatever its workers hold besides.

   Workers of several slots, where the network loses nothing (what it may lose is lease.pml). The first DEADLY jobs kill the worker
   that begins them. A worker that has died is replaced, and its leases run out at any time. Workers give back what has not
   begun, as often as the budget says: they drain, or have claimed too much. */

#ifndef W
#define W 2
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef JOBS
#define JOBS 3                  /* 3 or 4 */
#endif
#ifndef DEADLY
#define DEADLY 1
#endif
#ifndef RELEASES
#define RELEASES 3
#endif
#define LOST_LIMIT 3            /* flows/_state.py */

#define IN_LANE 0
#define IN_SUSPECTS 1
#define HELD 2                  /* granted, not begun */
#define BEGUN 3
#define ORPHAN 4                /* whoever held it is dead */
#define ENDED 5
#define FAILED 6

byte st[JOBS], lost[JOBS];
byte holder[JOBS];
bit doubted[JOBS];              /* ghost: it was claimed from the suspects */
byte releases = RELEASES;

inline count_held(w) {
  held = 0;
  doubts = 0;
  j = 0;
  do
  :: j < JOBS ->
     if
     :: (st[j] == HELD || st[j] == BEGUN) && holder[j] == w -> held++; doubts = doubts + doubted[j]
     :: else
     fi;
     j++
  :: else -> break
  od
}

/* `lose`: take_all() or rescue.lua, suspect() in settling.lua */
inline lose(k) {
  lost[k]++;
  doubted[k] = 0;
  if
  :: lost[k] == LOST_LIMIT ->
     st[k] = FAILED;
     assert(k < DEADLY)         /* no other job fails for its sake */
  :: else -> st[k] = IN_SUSPECTS
  fi
}

inline pick(k) {
  if
  :: k = 0 :: k = 1 :: k = 2
#if JOBS > 3
  :: k = 3
#endif
  fi
}

/* One worker after the other in the same place. */
active [W] proctype worker() {
  byte held, doubts, j, k;
end: do
  /* Claims: take_turns() and take_suspect() in grants.lua. */
  :: atomic {
       pick(k);
       count_held(_pid);
       if
       :: held < SLOTS && st[k] == IN_LANE -> st[k] = HELD; holder[k] = _pid
#ifdef MANY_SUSPECTS
       :: held < SLOTS && st[k] == IN_SUSPECTS -> st[k] = HELD; holder[k] = _pid; doubted[k] = 1
#else
       :: held < SLOTS && st[k] == IN_SUSPECTS && doubts == 0 -> st[k] = HELD; holder[k] = _pid; doubted[k] = 1
#endif
       /* A handler begins; one that is deadly ends the process, and all that it held is nobody's. */
       :: st[k] == HELD && holder[k] == _pid && k >= DEADLY -> st[k] = BEGUN
       :: st[k] == HELD && holder[k] == _pid && k < DEADLY ->
          j = 0;
          do
          :: j < JOBS ->
             if
             :: (st[j] == HELD || st[j] == BEGUN) && holder[j] == _pid -> st[j] = ORPHAN; holder[j] = 0
             :: else
             fi;
             j++
          :: else -> break
          od
       :: st[k] == BEGUN && holder[k] == _pid -> st[k] = ENDED; holder[k] = 0; lost[k] = 0; doubted[k] = 0
       :: st[k] == HELD && holder[k] == _pid && releases > 0 -> /* settle_otherwise(): released */
          releases--;
          holder[k] = 0;
          doubted[k] = 0;
          if
#ifndef FORGIVING
          :: lost[k] > 0 -> st[k] = IN_SUSPECTS
#endif
          :: else -> st[k] = IN_LANE
          fi
       :: else
       fi;
       held = 0; doubts = 0; j = 0; k = 0
     }
  od
}

active proctype rescue() {
end: do
  :: atomic { st[0] == ORPHAN -> lose(0) }
  :: atomic { st[1] == ORPHAN -> lose(1) }
  :: atomic { st[2] == ORPHAN -> lose(2) }
#if JOBS > 3
  :: atomic { st[3] == ORPHAN -> lose(3) }
#endif
  od
}
