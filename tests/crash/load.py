"""tests/crash/load.py: the clients that keep the server busy until it dies. One thread each; all of
them note in the ledger what they do. What a client does follows from the seed, the cycle and its
name; only the instant of the end is left to chance."""
import random
import threading
import time
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape

from client import GONE, Link, Refused, is_message, message_parts
from ledger import ABSENT, body_of
from server import HOST, SLOW, TIMEOUT
from xmpp import stanza_error

SENDERS = ['s0', 's1', 's2']
BIG, SLOWPOKE = 'b0', 'd3'              # more than the kernel takes, for one who does not read
OFFLINE = ['o0', 'o1', 'o2']            # come only to be counted
DRAINS = ['d0', 'd1']                   # come and go while messages for them arrive
RUDE = 'd2'                             # goes without reading what has reached its socket
EDITORS, ASKER = ['r0', 'r1'], 'r2'
SUBJECTS = [f'w{n}' for n in range(10)] # get subscription requests
CARD, PRIVATE = 'v0', 'p0'
PRIVATE_NS = [f'urn:example:{n}' for n in range(3)]
STAYING = [*SENDERS, *EDITORS, CARD, PRIVATE]
USERS = [*SENDERS, BIG, *OFFLINE, *DRAINS, RUDE, SLOWPOKE, *EDITORS, ASKER, *SUBJECTS, CARD,
         PRIVATE]
CONTACTS = [f'c{n}@{HOST}' for n in range(25)]
LONG = 'x' * 1500


def address(user):
    return f'{user}@{HOST}'


class Load:
    def __init__(self, world):
        self.server, self.messages, self.registers = world.server, world.messages, world.registers
        self.seed, self.cycle = world.seed, world.count['cycles']
        self.dying = threading.Event()      # set before the signal is sent
        # A crash right behind them may find something half done: what a recipient left unread has
        # found another place; a contact's server has been told.
        self.moments = {'relieved': threading.Event(), 'asked': threading.Event()}
        self.slow_is_in = threading.Event()
        self.failures = []
        self.ends = {}                      # user -> the stream error with which it ended
        self.sessions = 0                   # of the recipients that come and go
        jobs = [(self.sender, u) for u in SENDERS] + [(self.editor, u) for u in EDITORS]
        if world.dies:                      # to break a connection is to read what it has lost
            jobs += [(self.drain, u) for u in (*DRAINS, RUDE)]
        jobs += [(self.card, CARD), (self.private, PRIVATE), (self.registrar, 'registrar')]
        if world.party:
            jobs += world.party.jobs(self)
        self.threads = []
        self.start(*jobs)

    # ---- threads ---------------------------------------------------------------------------------

    def start(self, *jobs):
        for job in jobs:
            self.threads.append(threading.Thread(target=self.run, args=job, daemon=True))
            self.threads[-1].start()

    def join(self):
        end = time.monotonic() + TIMEOUT
        for t in self.threads:
            t.join(max(end - time.monotonic(), 0))
            if t.is_alive():
                self.failures.append('a client does not notice the end of the server')

    def run(self, work, user):
        rng = random.Random(f'{self.seed}/{self.cycle}/{user}')
        try:
            work(user, rng)
        except GONE as e:
            self.ends[user] = getattr(e, 'condition', None)
            if not self.dying.is_set():
                self.failures.append(f'{user}: the connection ended before the server: {e!r}')
        except ParseError as e:             # a shutdown between <success/> and the new stream
            if not self.dying.is_set() or user in STAYING:
                self.failures.append(f'{user}: {e!r}')
        except Exception as e:              # pylint: disable=broad-except
            self.failures.append(f'{user}: {e!r}')

    # ---- senders ---------------------------------------------------------------------------------

    def note_errors(self, elements):
        for el in elements:
            if is_message(el) and el.get('type') == 'error':
                self.messages.refuse(el.get('id'), stanza_error(el)[1])

    def sender(self, user, rng):
        link = Link(self.server).enter(user)
        while True:
            ids = []
            for _ in range(rng.choice((1, 3, 10, 40))):
                to = rng.choice((*OFFLINE, *OFFLINE, *DRAINS, *DRAINS, RUDE))
                ids.append(self.messages.new(user, to))
            self.send_batch(link, ids)

    def send_batch(self, link, ids):
        link.send(''.join(f"<message to='{address(i.split('/')[1])}' type='chat' id='{i}'>"
                          f'<body>{escape(body_of(i))}</body></message>' for i in ids))
        link.barrier()
        self.note_errors(link.before)
        self.messages.ack(ids)

    def big(self, user, rng):
        """What a recipient's connection leaves unsent is not handled before it is stored."""
        link = Link(self.server).enter(user)
        if self.slow_is_in.wait(TIMEOUT):
            self.send_batch(link, [self.messages.new(user, SLOWPOKE) for _ in range(75)])
        self.moments['relieved'].set()

    def slow(self, user, rng):
        link = Link(self.server, rcvbuf=4096).enter(user)
        link.send('<presence/>')
        link.barrier()
        self.note(link.before, link, user)
        self.slow_is_in.set()
        time.sleep(0.3 * SLOW)
        link.half_close()
        self.dying.wait(TIMEOUT)
        self.take(link, user, TIMEOUT)

    # ---- recipients ------------------------------------------------------------------------------

    def note(self, elements, link, user):
        for el in elements:
            if is_message(el):
                self.messages.arrived(user, link.session, *message_parts(el))

    def take(self, link, user, seconds):
        self.note(link.collect(time.monotonic() + seconds), link, user)

    def drain(self, user, rng):
        """Reads what has reached the socket to the last byte, except when rude."""
        while True:
            link = Link(self.server).enter(user)
            self.sessions += 1
            link.send('<presence/>')
            self.take(link, user, rng.uniform(0, 0.3))
            if user == RUDE:
                link.reset()
                time.sleep(rng.uniform(0, 0.1))
                continue
            if rng.random() < 0.5:
                link.half_close()
            else:
                link.send('</stream:stream>')
            self.take(link, user, TIMEOUT)
            if not link.eof:
                self.failures.append(f'{user}: the server does not end the stream')
            link.sock.close()
            time.sleep(rng.uniform(0, 0.1))

    # ---- editors ---------------------------------------------------------------------------------

    def edit(self, key, value, request):
        """One operation: noted, asked for, answered."""
        self.registers.begin(key, value)
        try:
            request()
        except Refused as e:
            self.registers.refuse(key, str(e))
        else:
            self.registers.done(key)

    def subscribe(self, link, user, rng, left):
        """Once for each contact in a server's life: the contact's server answers an unsubscribe
        with an unsubscribed, some time, and that revokes a request that is made in between (RFC
        6121, A.3.2 and A.2.4)."""
        subject = left.pop(rng.randrange(len(left)))
        wanted = self.registers.settled.get(('ask', user, subject)) is None or rng.random() < 0.2
        keys = [(('ask', user, subject), 'subscribe' if wanted else ABSENT),
                (('wish', user, subject), wanted or ABSENT)]
        for key, value in keys:
            self.registers.begin(key, value)
        link.send(f"<presence to='{address(subject)}' "
                  f"type='{'subscribe' if wanted else 'unsubscribe'}'/>")
        link.barrier()
        errors = [stanza_error(el)[1] for el in link.before if el.get('type') == 'error']
        for key, _ in keys:
            if errors:
                self.registers.refuse(key, errors[0])
            else:
                self.registers.done(key)

    def asker(self, user, rng):
        """The contact's server has to remember a request as well as the own one."""
        link, left = Link(self.server).enter(user), list(SUBJECTS)
        while left:
            self.subscribe(link, user, rng, left)
            self.moments['asked'].set()

    def editor(self, user, rng):
        link = Link(self.server).enter(user)
        n, left = 0, list(SUBJECTS)
        while True:
            n += 1
            jid = rng.choice(CONTACTS)
            what = rng.random()
            if what < 0.02 and left:
                self.subscribe(link, user, rng, left)
            elif what < 0.35 and self.registers.is_there(('item', user, jid)):
                self.edit(('item', user, jid), ABSENT, lambda to=jid: link.roster_remove(to))
            else:
                name = f'{self.cycle}-{n}'
                groups = tuple(sorted(rng.sample(('A', 'B', 'C <&>'), rng.randint(0, 3))))
                self.edit(('item', user, jid), (name, groups),
                          lambda to=jid, v=name, g=groups: link.roster_set(to, v, g))

    def card(self, user, rng):
        link = Link(self.server).enter(user)
        n = 0
        while True:
            n += 1
            text = f'{self.cycle}-{n} {LONG[:rng.choice((0, 100, 1500))]}'
            self.edit(('vcard', user), text, lambda t=text: link.vcard_set(t))

    def private(self, user, rng):
        link = Link(self.server).enter(user)
        n = 0
        while True:
            n += 1
            ns = rng.choice(PRIVATE_NS)
            text = f'{self.cycle}-{n} {LONG[:rng.choice((0, 100, 1500))]}'
            self.edit(('private', user, ns), text, lambda k=ns, t=text: link.private_set(k, t))

    # ---- accounts --------------------------------------------------------------------------------

    def ctl(self, key, value, *words):
        """True when grapnelctl says that it is done; otherwise it may be done or not."""
        self.registers.begin(key, value)
        text = f'{value}\n' if value is not ABSENT else ''
        options = ('--password-stdin',) if value is not ABSENT else ()
        done = self.server.ctl('user', *words, *options, text=text)
        if done.returncode == 0:
            self.registers.done(key)
            return True
        if not self.dying.is_set():
            self.failures.append(f'grapnelctl user {words}: {done.stderr}')
        return False

    def register(self, key, password):
        """XEP-0077, on a connection that has not logged in."""
        link = Link(self.server)
        link.open()
        self.edit(key, password, lambda: link.register(key[1], password))
        link.sock.close()

    def registrar(self, user, rng):
        n = 0
        while not self.dying.is_set():
            n += 1
            name = f'a{self.cycle}x{n}'
            key = ('account', name)
            if rng.random() < 0.5:
                self.register(key, f'{user}-{n}')
            elif not self.ctl(key, f'{user}-{n}', 'add', address(name)):
                return
            what = rng.random()
            if what < 0.3 and not self.ctl(key, f'changed-{n}', 'password', address(name)):
                return
            if what > 0.8 and not self.ctl(key, ABSENT, 'delete', address(name)):
                return
