"""tests/crash/world.py: one server that dies again and again, in one of four ways, the ledger of
what it acknowledged, and the readers who look what is left after each start.

    kill    SIGKILL
    term    SIGTERM: every client is told, the process ends in time
    none    the server lives, all connections are reset, also in the middle of a stanza
    power   what was not synced is gone (disk.py)"""
import collections
import json
import os
import random
import signal
import statistics
import time

from archive import Archive
from client import CLIENT, GONE, Cut, Link, is_message, message_parts, q
from disk import Disk
from ledger import ABSENT, Messages, Registers
from load import (ASKER, BIG, DRAINS, EDITORS, OFFLINE, RUDE, SLOWPOKE, STAYING, SUBJECTS, USERS,
                  Load, address)
from server import BUILD, HOST, LOOPS, SLOW, Server
from sm import Party
from xmpp import Failure

SEED = os.environ.get('GRAPNEL_CRASH_SEED') or str(random.SystemRandom().randrange(10 ** 9))
KINDS = ('kill', 'term', 'none', 'power')
QUIET = 5 * SLOW                        # seconds without a missing message: it will not come
FETCH_EVERY = 3                         # cycles; in between messages gather over several crashes
RECIPIENTS = [*OFFLINE, *DRAINS, SLOWPOKE, RUDE]
LIMITS = {'rate_c2s': '1GiB', 'burst_c2s': '1GiB'}
MODULES = ['barrier', 'roster', 'presence', 'offline', 'private', 'vcard', 'register']
NOSYNC = f'{BUILD}/tests/crash/preload_nosync.so'


def have(module):
    return os.path.exists(f'{BUILD}/modules/mod_{module}.so')


class World:
    """One server, one ledger, many lives."""

    def __init__(self, kind, name=None, show=30, quiet=QUIET, **sm_options):
        self.kind, self.name, self.show, self.quiet = kind, name or kind, show, quiet
        self.dies = kind != 'none'
        self.seed = f'{SEED}/{self.name}'
        modules = MODULES + [m for m in ('stream_management', 'mam') if have(m)]
        self.server = Server(modules=modules, limits=LIMITS, listen={'tls': 'optional'},
                             host={'plain': 'always'}, hosts=(HOST,),
                             module_path=f'{BUILD}/tests/modules')
        self.server.set('mod_offline', limit='unlimited', size_limit='unlimited')
        if have('stream_management'):       # who never acknowledges is what is tested
            self.server.set('mod_stream_management', queue_limit='unlimited',
                            queue_size='unlimited', ack_timeout='unlimited', **sm_options)
        self.server.set('mod_register', require_tls='no', per_ip='unlimited', total='unlimited')
        self.messages, self.registers = Messages(), Registers()
        self.count = collections.Counter()
        self.rng = random.Random(self.seed)
        self.starts, self.stops = [], []
        self.sync = True
        self.problems = []
        self.lost = set()
        self.passwords = {}             # account -> the one that was seen to work
        self.disk = Disk(self.server.dir, self.server.data) if kind == 'power' else None
        self.start()
        for user in USERS:
            self.server.add_user(address(user))
        self.party = None
        self.new_network()
        if have('stream_management'):
            self.party = Party(self, OFFLINE)
        self.archives = []
        if have('mam'):
            self.archives = [Archive(u) for u in (*(Party.ROLES if self.party else ()), *OFFLINE)]

    def start(self):
        if not self.sync:
            os.environ['LD_PRELOAD'] = NOSYNC
        begin = time.monotonic()
        try:
            self.server.start()
        finally:
            os.environ.pop('LD_PRELOAD', None)
        self.starts.append(time.monotonic() - begin)

    def new_network(self):
        if self.kind == 'none':
            self.server.cut = Cut()

    def problem(self, text):
        self.problems.append(text)
        if len(self.problems) <= self.show:
            print(f'# cycle {self.count["cycles"]}: {text[:600]}', flush=True)

    # ---- one cycle -------------------------------------------------------------------------------

    def load(self):
        self.count['cycles'] += 1
        self.rng = random.Random(f'{self.seed}/{self.count["cycles"]}')
        moment = self.rng.choice((None, 'asked', 'relieved' if self.dies else None))
        load = Load(self)
        time.sleep(self.rng.uniform(0.2, 2) * SLOW)
        if moment:
            load.start(*{'asked': [(load.asker, ASKER)],
                         'relieved': [(load.big, BIG), (load.slow, SLOWPOKE)]}[moment])
            load.moments[moment].wait(3 * SLOW)
            time.sleep(self.rng.choice((0, 0, 0.02)) * self.rng.random())
        load.dying.set()
        return load

    def cycle(self, meanwhile=None):
        """A life and its end; meanwhile: what happens to its disk before the next."""
        load = self.load()
        getattr(self, f'die_by_{self.kind}')()
        load.join()
        for text in load.failures:
            self.problem(text)
        self.count['drains'] += load.sessions
        if self.kind == 'term':
            self.check_told(load)
        if meanwhile:
            meanwhile()
        if self.dies:
            self.start()
        else:
            self.server.cut.close()
            self.new_network()
        if self.party:
            self.party.settle()
        self.check_state()
        if self.kind == 'term' or self.count['cycles'] % FETCH_EVERY == 0:
            self.fetch_all()

    def die_by_kill(self):
        self.server.kill()

    def die_by_term(self):
        begin = time.monotonic()
        self.server.signal(signal.SIGTERM)
        status = self.server.wait_end()
        self.stops.append(time.monotonic() - begin)
        if status != 0:
            self.problem(f'exit status {status} after SIGTERM')

    def check_told(self, load):
        for user in (*STAYING, *(self.party.staying() if self.party else ())):
            if load.ends.get(user) != 'system-shutdown':
                self.problem(f'{user} was not told of the shutdown: {load.ends.get(user)}')

    def die_by_none(self):
        self.server.cut.now()

    def die_by_power(self):
        if self.sync and self.rng.random() < 0.5:
            self.disk.power_off()
        self.server.kill()
        self.disk.power_on()

    # ---- what is there ---------------------------------------------------------------------------

    def check(self, key, observed):
        if not self.dies and self.registers.is_open(key):
            return                      # a server that lives may still be about to do it
        self.count['checks'] += 1
        wrong = self.registers.check(key, observed)
        if wrong:
            self.count['wrong'] += 1
            self.problem(wrong)

    def check_state(self):
        for user in sorted({*EDITORS, ASKER, *(k[1] for k in self.registers.keys('item'))}):
            link = Link(self.server).enter(user, 'check')
            roster = link.roster()
            link.sock.close()
            known = {address(s) for s in (*SUBJECTS, *Party.ROLES)}
            for key in self.registers.keys('ask', user):
                self.check(key, roster.get(address(key[2]), (0, 0, None))[2])
            for key in self.registers.keys('item', user):
                known.add(key[2])
                item = roster.get(key[2])
                self.check(key, item and item[:2])
            for jid in roster.keys() - known:
                self.problem(f'nobody has put {jid} into the roster of {user}')
        for key in self.registers.keys('vcard'):
            link = Link(self.server).enter(key[1], 'check')
            self.check(key, link.vcard())
            link.sock.close()
        for key in self.registers.keys('private'):
            link = Link(self.server).enter(key[1], 'check')
            self.check(key, link.private(key[2]))
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

        deadline = time.monotonic() + self.quiet
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
        for name in there - {k[1] for k in self.registers.keys('account')} - {*USERS, *Party.ROLES}:
            self.problem(f'nobody has made the account {name}')

    # ---- messages --------------------------------------------------------------------------------

    def fetch(self, user):
        """Everything that is stored for the user, as far as we know of it."""
        missing = self.messages.missing(user) - self.lost
        quiet = 1 if user == RUDE else self.quiet
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
        for archive in self.archives:
            for text in archive.fetch(self.server) + archive.judge(self.messages):
                self.count['archive'] += 1
                self.problem(f'archive of {archive.user}: {text}')

    # ---- the end ---------------------------------------------------------------------------------

    def finish(self):
        try:
            if self.party:
                self.party.leave()
            self.fetch_all()
            self.server.stop()
            if self.disk:
                self.disk.remove()
        except (*GONE, AssertionError) as e:
            self.problem(f'the server is not well: {e!r}')
        total = collections.Counter()
        self.waited = collections.Counter()     # of those that came twice
        managed = Party.RECIPIENTS if self.party else []
        for user in (*RECIPIENTS, *managed):
            for kind, found in self.messages.judge(user).items():
                # What a broken connection has left unsent is stored behind what came meanwhile.
                if user == RUDE and kind in ('lost', 'reordered_stored'):
                    continue
                total[kind] += len(found)
                if kind == 'resent':
                    self.waited.update(self.messages.waited[id_] for id_ in found)
                fine = ('denied', 'resent', 'handed', 'overtaken',
                        'again' if user not in managed else '')
                if found and kind not in fine:
                    self.problem(f'{kind} for {user}: {len(found)}, as {found[:5]}')
        for key, condition in self.registers.refused:
            self.problem(f'{key} was refused: {condition}')
        for id_, condition in list(self.messages.refused.items())[:5]:
            self.problem(f'message {id_} came back: {condition}')
        return self.summary(total)

    def summary(self, total):
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
        if self.party:
            summary['sm'] = {'sessions': self.party.deaths, 'resumed': self.party.resumed,
                             'too_young': self.party.young,
                             'flaps': self.party.flaps, 'forgotten': self.count['forgotten'],
                             'sent_again': sum(self.messages.resent.values()),
                             'twice': dict(self.waited)}
        if self.archives:
            summary['archive'] = {
                'rows': sum(len(a.ids) for a in self.archives), 'wrong': self.count['archive'],
                'twice': sum(len(c) - 1 for a in self.archives for c in a.copies.values())}
            summary['weak'] = len({i for i in self.lost for a in self.archives if i in a.copies})
        summary['problems'] = len(self.problems)
        print('# ' + json.dumps(summary), flush=True)
        return summary
