"""tests/crash/ledger.py: what the server has acknowledged, and the judges that compare it with what
it gives back. Every writer notes an operation before it sends it and once more when the answer has
come; what was sent and not answered may have happened or not. Writers use keys of their own, so
that the interpreter's own locking is enough.

The judges are tested themselves: test_crash.py, self_test."""
import collections
import hashlib

ABSENT = None


def body_of(id_):
    """The text of a message, told by its id: of several lengths, with characters that need
    escaping. A sender whose name begins with b sends big ones."""
    digest = hashlib.sha256(id_.encode('utf-8')).hexdigest()
    return digest * (800 if id_[0] == 'b' else 1 + int(digest[0], 16) % 8) + ' <&>\'" äß𝄞'


class Messages:
    """Ids are SENDER/RECIPIENT/N with N counting up for the pair."""

    def __init__(self):
        self.sent = set()
        self.acked = set()
        self.refused = {}                   # id -> condition
        self.arrivals = collections.defaultdict(list)   # recipient -> [what arrived() says]
        self.came = collections.defaultdict(set)        # recipient -> ids
        self.resent = collections.Counter()     # id -> how often the sender had to send it again
        self.waited = {}                        # id -> for what it, or one before it, had to wait
        self.denied = collections.Counter()     # id -> how often its recipient has not
                                                # acknowledged it before a death
        self.stanza_ids = collections.defaultdict(set)  # recipient, id -> what the archive says
        self.next_n = collections.Counter()

    # ---- writers ---------------------------------------------------------------------------------

    def new(self, sender, recipient):
        self.next_n[sender, recipient] += 1
        id_ = f'{sender}/{recipient}/{self.next_n[sender, recipient]}'
        self.sent.add(id_)
        return id_

    def again(self, ids, waiting):
        """Sent again, in that order. Those for whom the server can do nothing but store are handled
        with that; others when their recipients (`waiting`) have acknowledged them, and those behind
        them not before."""
        behind = False
        for id_ in ids:
            self.resent[id_] += 1
            own = id_.split('/')[1] in waiting
            self.waited[id_] = 'ack' if own else 'behind' if behind else 'store'
            behind = behind or own

    def ack(self, ids):
        self.acked.update(ids)

    def refuse(self, id_, condition):
        self.refused[id_] = condition

    def arrived(self, recipient, session, id_, body, stored):
        """stored: it carries a delay."""
        self.arrivals[recipient].append((session, id_, body, stored))
        self.came[recipient].add(id_)

    # ---- judges ----------------------------------------------------------------------------------

    def missing(self, recipient):
        """Acknowledged, and not arrived so far."""
        return {id_ for id_ in self.acked - self.refused.keys() - self.came[recipient]
                if id_.split('/')[1] == recipient}

    def judge(self, recipient):
        """Call when everything has been fetched. Order is that of each sender's messages when they
        arrive for the first time, apart for what was stored and what came at once: a message for
        somebody who has just come may overtake those that wait for him (`overtaken`). A message may
        come again as often as its recipient had not acknowledged it (`denied`), once more from the
        store when it was being handed over (`handed`), and as often as its sender was not told that
        it had been handled (`resent`)."""
        verdict = {'lost': sorted(self.missing(recipient)), 'corrupt': [], 'reordered_live': [],
                   'reordered_stored': [], 'overtaken': [], 'twice_in_a_session': [], 'again': [],
                   'denied': [], 'resent': [], 'handed': []}
        seen, in_session, last = set(), set(), collections.Counter()
        spare = {'denied': self.denied.copy(), 'resent': self.resent.copy(),
                 'handed': self.denied.copy()}
        for session, id_, body, stored in self.arrivals[recipient]:
            if id_ not in self.sent or id_.split('/')[1] != recipient or body != body_of(id_):
                verdict['corrupt'].append(id_)
                continue
            if id_ in seen:
                why = next((why for why in spare if spare[why][id_] > 0 and
                            (stored or why != 'handed')), 'again')
                if why != 'again':
                    spare[why][id_] -= 1
                elif (session, id_) in in_session:
                    verdict['twice_in_a_session'].append(id_)
                verdict[why].append(id_)
                in_session.add((session, id_))
                continue
            in_session.add((session, id_))
            seen.add(id_)
            sender, n = id_.split('/')[0], int(id_.split('/')[2])
            if n < last[sender, stored]:
                verdict['reordered_stored' if stored else 'reordered_live'].append(id_)
            elif n < last[sender, not stored]:
                verdict['overtaken'].append(id_)
            last[sender, stored] = max(last[sender, stored], n)
        return verdict


class Registers:
    """Things with one value each: a roster item, a vCard, the password of an account."""

    def __init__(self):
        self.settled = {}                   # key -> value of the last acknowledged operation
        self.open = collections.defaultdict(list)       # key -> values sent since
        self.acks = collections.Counter()   # by kind, the first part of a key
        self.refused = []
        self.history = collections.defaultdict(lambda: collections.deque(maxlen=8))

    def begin(self, key, value):
        self.open[key].append(value)
        self.history[key].append(f'sent {value!r:.60}')

    def done(self, key):
        """The answer to the last begin."""
        self.settled[key] = self.open[key][-1]
        self.open[key] = []
        self.acks[key[0]] += 1
        self.history[key].append('acknowledged')

    def refuse(self, key, condition):
        self.open[key].pop()
        self.history[key].append(f'refused: {condition}')
        self.refused.append((key, condition))

    def keys(self, *prefix):
        found = set(self.settled) | set(self.open)
        return sorted((k for k in found if k[:len(prefix)] == prefix), key=repr)

    def is_there(self, key):
        return not self.open[key] and self.settled.get(key) is not ABSENT

    def is_open(self, key):
        return bool(self.open[key])

    def check(self, key, observed):
        """None, or what is wrong. Nothing may be under way. What was read once stays so."""
        allowed = [self.settled.get(key, ABSENT), *self.open[key]]
        self.history[key].append(f'read {observed!r:.60}')
        self.settled[key] = observed        # told once, when it is wrong
        self.open[key] = []
        if observed not in allowed:
            return (f'{key}: {observed!r:.60} is there, expected: {allowed!r:.200}; '
                    f'{", ".join(self.history[key])}')
        return None
