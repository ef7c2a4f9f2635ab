"""tests/crash/world.py: one server that dies again and again, the ledger of what it acknowledged,
and the readers who look what is left after each start."""
import collections
import json
import os
import random
import signal
import statistics
import time

from client import CLIENT, GONE, Link, is_message, message_parts, q
from ledger import ABSENT, Messages, Registers
from load import (ASKER, BIG, CARD, DRAINS, EDITORS, OFFLINE, PRIVATE, PRIVATE_NS, RUDE, SLOWPOKE,
                  STAYING, SUBJECTS, USERS, Load, address)
from server import BUILD, HOST, LOOPS, SLOW, Server
from xmpp import Failure

SEED = os.environ.get('GRAPNEL_CRASH_SEED') or str(random.SystemRandom().randrange(10 ** 9))
QUIET = 5 * SLOW                        # seconds without a missing message: it will not come
FETCH_EVERY = 3                         # cycles; in between messages gather over several crashes
RECIPIENTS = [*OFFLINE, *DRAINS, SLOWPOKE, RUDE]
LIMITS = {'rate_c2s': '1GiB', 'burst_c2s': '1GiB'}
MODULES = ['barrier', 'roster', 'presence', 'offline', 'private', 'vcard', 'register']


class World:
    """One server, one ledger, many lives."""

    def __init__(self, name, show=30):
        self.name, self.show = name, show
        self.seed = f'{SEED}/{name}'
        self.server = Server(modules=MODULES, limits=LIMITS, listen={'tls': 'optional'},
                             host={'plain': 'always'}, hosts=(HOST,),
                             module_path=f'{BUILD}/tests/modules')
        self.server.set('mod_offline', limit='unlimited', size_limit='unlimited')
        self.server.set('mod_register', require_tls='no', per_ip='unlimited', total='unlimited')
        self.messages, self.registers = Messages(), Registers()
        self.count = collections.Counter()
        self.starts, self.stops = [], []
        self.problems = []
        self.lost = set()
        self.passwords = {}             # account -> the one that was seen to work
        self.start()
        for user in USERS:
            self.server.add_user(address(user))

    def start(self):
        begin = time.monotonic()
        self.server.start()
        self.starts.append(time.monotonic() - begin)

    def problem(self, text):
        self.problems.append(text)
        if len(self.problems) <= self.show:
            print(f'# cycle {self.count["cycles"]}: {text[:600]}', flush=True)

    # ---- one cycle -------------------------------------------------------------------------------

    def load(self):
        self.count['cycles'] += 1
        self.rng = random.Random(f'{self.seed}/{self.count["cycles"]}')
        moment = self.rng.choice((None, 'asked', 'relieved'))
        load = Load(self.server, self.messages, self.registers, self.seed, self.count['cycles'])
        time.sleep(self.rng.uniform(0.2, 2) * SLOW)
        if moment:
            load.start(*{'asked': [(load.asker, ASKER)],
                         'relieved': [(load.big, BIG), (load.slow, SLOWPOKE)]}[moment])
            load.moments[moment].wait(3 * SLOW)
            time.sleep(self.rng.choice((0, 0, 0.02)) * self.rng.random())
        load.dying.set()
        return load

    def after(self, load):
        load.join()
        for text in load.failures:
            self.problem(text)
        self.count['drains'] += load.sessions

    def kill_cycle(self, meanwhile=None):
        load = self.load()
        self.server.kill()
        self.after(load)
        if meanwhile:
            meanwhile()
        self.start()
        self.check_state()
        if self.count['cycles'] % FETCH_EVERY == 0:
            self.fetch_all()

    def term_cycle(self):
        load = self.load()
        begin = time.monotonic()
        self.server.signal(signal.SIGTERM)
        status = self.server.wait_end()
        self.stops.append(time.monotonic() - begin)
        if status != 0:
            self.problem(f'exit status {status} after SIGTERM')
        self.after(load)
        for user in STAYING:
            if load.ends.get(user) != 'system-shutdown':
                self.problem(f'{user} was not told of the shutdown: {load.ends.get(user)}')
        self.start()
        self.check_state()
        self.fetch_all()

    # ---- what is there ---------------------------------------------------------------------------

    def check(self, key, observed):
        self.count['checks'] += 1
        wrong = self.registers.check(key, observed)
        if wrong:
            self.count['wrong'] += 1
            self.problem(wrong)

    def check_state(self):
        for user in (*EDITORS, ASKER):
            link = Link(self.server).enter(user)
            roster = link.roster()
            link.sock.close()
            known = {address(s) for s in SUBJECTS}
            for key in self.registers.keys('ask', user):
                self.check(key, roster.get(address(key[2]), (0, 0, None))[2])
            for key in self.registers.keys('item', user):
                known.add(key[2])
                item = roster.get(key[2])
                self.check(key, item and item[:2])
            for jid in roster.keys() - known:
                self.problem(f'nobody has put {jid} into the roster of {user}')
        link = Link(self.server).enter(CARD)
        self.check(('vcard', CARD), link.vcard())
        link.sock.close()
        link = Link(self.server).enter(PRIVATE)
        for ns in PRIVATE_NS:
            self.check(('private', PRIVATE, ns), link.private(ns))
        link.sock.close()
        for subject in SUBJECTS:
            self.check_requests(subject)
        self.check_accounts()

    def check_requests(self, subject):
        """Requests come again at every login until they are answered (RFC 6121, 3.1.3)."""
        keys = [('wish', user, subject) for user in (*EDITORS, ASKER)]
        due = {k for k in keys if self.registers.settled.get(k) and not self.registers.is_open(k)}
        link = Link(self.server).enter(subject)
        link.send('<presence/>')
        came = set()

        def note(el):
            if el.tag == q(CLIENT, 'presence') and el.get('type') == 'subscribe':
                came.add(('wish', el.get('from').split('@')[0], subject))

        deadline = time.monotonic() + QUIET
        while due - came and time.monotonic() < deadline:
            for el in link.collect(time.monotonic() + 0.05):
                note(el)
        link.barrier()
        for el in link.before:
            note(el)
        link.sock.close()
        for key in keys:
            self.check(key, True if key in came else ABSENT)

    def works(self, name, password):
        link = Link(self.server)
        try:
            link.open()
            link.authenticate(name, password, 'PLAIN')
        except Failure:
            return False
        finally:
            link.sock.close()
        return True

    def names(self):
        found, after = set(), ()
        while True:
            page = [line.split('@')[0] for line in self.server.ctl_ok('user', 'list', HOST,
                                                                      *after).split()
                    if '@' in line]
            if not set(page) - found:
                return found
            found.update(page)
            after = (page[-1],)

    def check_accounts(self):
        """All by name, and the passwords of those that were touched since the last time."""
        there = self.names()
        for key in self.registers.keys('account'):
            name, settled, open_ = key[1], self.registers.settled.get(key), self.registers.open[key]
            if not open_ and self.passwords.get(name, '') == settled:
                self.check(key, settled if name in there else ABSENT)
                continue
            candidates = [p for p in (settled, *open_) if p is not ABSENT]
            found = [p for p in candidates if self.works(name, p)] if name in there else []
            observed = found[0] if found else 'another password' if name in there else ABSENT
            self.check(key, observed)
            self.passwords[name] = observed
        for name in there - {k[1] for k in self.registers.keys('account')} - set(USERS):
            self.problem(f'nobody has made the account {name}')

    # ---- messages --------------------------------------------------------------------------------

    def fetch(self, user):
        """Everything that is stored for the user, as far as we know of it."""
        missing = self.messages.missing(user) - self.lost
        quiet = 1 if user == RUDE else QUIET
        link = Link(self.server).enter(user)

        def note(elements):
            count = 0
            for el in elements:
                if is_message(el):
                    self.messages.arrived(user, link.session, *message_parts(el))
                    count += el.get('id') in missing
                    missing.discard(el.get('id'))
            return count

        link.send('<presence/>')
        last = time.monotonic()
        while missing and time.monotonic() < last + quiet and not link.eof:
            if note(link.collect(time.monotonic() + 0.02)):
                last = time.monotonic()
        link.barrier()
        note(link.before)
        link.send('</stream:stream>')
        note(link.collect(time.monotonic() + QUIET))
        link.sock.close()
        return missing

    def fetch_all(self):
        for user in RECIPIENTS:
            lost = self.fetch(user)
            self.lost |= lost
            if user == RUDE:            # had reached its socket, but it did not read
                self.count['unread'] += len(lost)
            elif lost:
                self.problem(f'lost for {user}: {len(lost)}, as {sorted(lost)[:5]}')

    # ---- the end ---------------------------------------------------------------------------------

    def finish(self):
        try:
            self.fetch_all()
            self.server.stop()
        except GONE as e:
            self.problem(f'the server is not well: {e!r}')
        total = collections.Counter()
        for user in RECIPIENTS:
            for kind, found in self.messages.judge(user).items():
                if user == RUDE and kind == 'lost':
                    continue
                total[kind] += len(found)
                # What a broken connection has left unsent is stored behind what came meanwhile.
                fine = ('again', 'overtaken', 'reordered_stored' if user == RUDE else '')
                if found and kind not in fine:
                    self.problem(f'{kind} for {user}: {len(found)}, as {found[:5]}')
        for key, condition in self.registers.refused:
            self.problem(f'{key} was refused: {condition}')
        for id_, condition in list(self.messages.refused.items())[:5]:
            self.problem(f'message {id_} came back: {condition}')
        summary = {
            'case': self.name, 'seed': SEED, 'loops': int(LOOPS), 'cycles': self.count['cycles'],
            'messages_sent': len(self.messages.sent), 'messages_acked': len(self.messages.acked),
            'messages': dict(total), 'acked': dict(self.registers.acks),
            'state_checks': self.count['checks'], 'state_wrong': self.count['wrong'],
            'unread_by_rude': self.count['unread'], 'recipient_sessions': self.count['drains'],
            'start_s': {'median': round(statistics.median(self.starts), 3),
                        'max': round(max(self.starts), 3)}}
        if self.stops:
            summary['stop_s'] = {'median': round(statistics.median(self.stops), 3),
                                 'max': round(max(self.stops), 3)}
        print('# ' + json.dumps(summary), flush=True)
        return summary
