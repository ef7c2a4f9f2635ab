"""tests/crash/sm.py: clients with stream management (XEP-0198). Their sessions outlive every death:
each has one over all connections, counts what it gets, keeps what it has sent until the server says
`h`, and notes as acknowledged only what `<a h/>` or `<resumed h/>` confirmed.

How they acknowledge: `prompt` when asked, `late` when about a hundred stanzas have come, `never`
while a connection lasts: at the next it says that nothing of the last one has arrived, and wants
all of it again, in order.

Members are used by one thread at a time: that of the load, and the main one between two loads."""
import collections
import random
import threading
import time

from client import BARRIER, CLIENT, DELAY, GONE, PRIVATE, ROSTER, VCARD, Link, q
from ledger import ABSENT, body_of
from server import HOST, SLOW
from xmpp import Ended, name_of, show, stanza_error

SM, SID = 'urn:xmpp:sm:3', 'urn:xmpp:sid:0'
WINDOW = 200                            # unacknowledged stanzas of a sender, at most


class Member:
    manner = 'prompt'

    def __init__(self, party, user):
        self.party, self.world, self.user = party, party.world, user
        self.messages = party.world.messages
        self.jid = f'{user}@{HOST}'
        self.link = self.id = None
        self.pending = {}               # id of an iq -> what to do with the answer
        self.count = 0
        self.last_denied = collections.Counter()
        self.begin()

    def begin(self):
        """The counts of a session that has just been enabled."""
        self.got = self.told = self.h = 0
        self.unacked = collections.deque()      # (xml, the message's id or None)
        self.untold = collections.deque()       # ids of messages, None for other stanzas
        self.on_disk = False            # as far as is known: something was acknowledged
        self.denied = {}                # what has to come again: id -> the how-manieth it was

    def problem(self, text):
        self.world.problem(f'{self.user}: {text}')

    # ---- coming and going ------------------------------------------------------------------------

    def enter(self):
        """A new session. What the old one had not got acknowledged is sent once more."""
        old = list(self.unacked)
        self.id = None
        self.link = Link(self.world.server).enter(self.user)
        self.begin()
        self.link.send(f"<enable xmlns='{SM}' resume='true'/>")
        enabled = self.link.element(q(SM, 'enabled'))
        self.id = enabled.get('id') or ''
        self.say('<presence/>')
        self.ask()
        self.send_again(old)

    def resume(self):
        """Over a new connection; a new one, when the server does not know it any more."""
        if self.manner != 'never':
            self.remember()
        self.denied = self.deny()
        self.last_denied.clear()
        self.got = self.told
        self.link = Link(self.world.server).log_in(self.user)
        self.link.send(f"<resume xmlns='{SM}' h='{self.got}' previd='{self.id}'/>")
        answer = self.link.element()
        if answer.tag != q(SM, 'resumed'):
            if self.on_disk:
                self.problem(f'the session is not resumed: {show(answer)}')
            else:                       # the server died within its first transaction
                self.party.young += 1
            self.link.reset()
            self.enter()
            return
        self.party.resumed += 1
        h = int(answer.get('h'))
        if h < self.h:
            self.problem(f'not resumed as it was: {self.h} were handled, now {h}')
            self.h = h                  # what is no longer there cannot be sent again
        self.acknowledged(h)
        old = list(self.unacked)
        self.unacked.clear()
        self.send_again(old)

    def send_again(self, entries):
        self.messages.again([id_ for _, id_ in entries if id_], self.party.RECIPIENTS)
        for xml, id_ in entries:
            self.say(xml, id_)
        if entries:
            self.ask()

    def leave(self, dying):
        """In order, with everything acknowledged: nothing comes again, unless the server dies."""
        old, self.manner = list(self.untold), 'never'
        self.tell()
        self.link.send('</stream:stream>')
        self.read(5 * SLOW, until_end=True)
        if dying.is_set():
            self.untold.extend(old)
        else:
            self.unacked.clear()
        self.deny()
        self.link.sock.close()
        self.link = self.id = None

    def remember(self):
        """For the next resumption: so far everything has come."""
        self.told = self.got
        self.untold.clear()

    def deny(self):
        """What came behind the last acknowledgement may come again: ids with their places."""
        ids = [id_ for id_ in self.untold if id_]
        self.messages.denied.update(ids)
        self.untold.clear()
        return {id_: place for place, id_ in enumerate(dict.fromkeys(ids))}

    # ---- sending ---------------------------------------------------------------------------------

    def say(self, xml, id_=None):
        self.unacked.append((xml, id_))
        self.link.send(xml)

    def ask(self):
        self.link.send(f"<r xmlns='{SM}'/>")

    def message(self, to):
        id_ = self.messages.new(self.user, to)
        text = body_of(id_).replace('&', '&amp;').replace('<', '&lt;')
        self.say(f"<message type='chat' to='{to}@{HOST}' id='{id_}'><body>{text}</body></message>",
                 id_)

    def iq(self, xml, done):
        """A set with {id} in it."""
        self.count += 1
        id_ = f'{self.user}-{self.count}'
        self.pending[id_] = done
        self.say(xml.replace('{id}', id_))

    def acknowledged(self, h):
        if not self.h <= h <= self.h + len(self.unacked):
            self.problem(f'h={h} after {self.h} with {len(self.unacked)} unacknowledged')
            h = max(self.h, min(h, self.h + len(self.unacked)))
        done = [self.unacked.popleft()[1] for _ in range(h - self.h)]
        self.h = h
        self.on_disk = self.on_disk or h > 0
        self.messages.ack([id_ for id_ in done if id_])

    # ---- receiving -------------------------------------------------------------------------------

    def tell(self):
        self.remember()
        self.link.send(f"<a xmlns='{SM}' h='{self.got}'/>")

    def read(self, seconds, until_end=False):
        """What comes; Ended when the connection has."""
        for el in self.link.collect(time.monotonic() + seconds):
            self.note(el)
        if self.link.eof and not until_end:
            raise Ended(getattr(self.link, 'condition', None), self.link.eof)

    def note(self, el):
        if el.tag == q(SM, 'a'):
            self.acknowledged(int(el.get('h')))
        elif el.tag == q(SM, 'r'):
            if self.manner == 'prompt' or self.manner == 'late' and len(self.untold) > 100:
                self.tell()
        elif el.tag.startswith(q(CLIENT, '')):
            self.got += 1
            self.untold.append(None)
            getattr(self, f'note_{name_of(el)}')(el)

    def note_message(self, el):
        id_ = el.get('id')
        if el.get('type') == 'error':
            self.messages.refuse(id_, stanza_error(el)[1])
            return
        self.untold[-1] = id_
        stored = el.find(q(DELAY, 'delay')) is not None
        self.messages.arrived(self.user, self.link.session, id_, el.findtext(q(CLIENT, 'body')),
                              stored)
        for sid in el.findall(q(SID, 'stanza-id')):
            if sid.get('by') == self.jid:
                self.messages.stanza_ids[self.user, id_].add(sid.get('id'))
        if id_ in self.denied:
            # What is stored may be overtaken, as at the first time; what its sender sends again
            # comes in the sender's order.
            track, place = (id_.split('/')[0], stored), self.denied.pop(id_)
            if self.messages.resent[id_]:
                return
            if place < self.last_denied[track]:
                self.problem(f'sent again in another order: {id_}')
            self.last_denied[track] = place

    def note_iq(self, el):
        if el.get('type') in ('result', 'error'):
            done = self.pending.pop(el.get('id'), None)     # a second time: not acknowledged before
            if done:
                done(el)

    def note_presence(self, el):
        """Who asks is let see everything."""
        if el.get('type') == 'subscribe':
            self.say(f"<presence type='subscribed' to='{el.get('from')}'/>")

    # ---- under load ------------------------------------------------------------------------------

    def work(self, load, rng):
        while True:
            self.read(10)

    def forgotten(self):
        """Not acknowledged, and what its sender knows to be handled: it has to come again."""
        return [id_ for id_ in self.denied if id_ in self.messages.acked]


class Late(Member):
    manner = 'late'


class Never(Member):
    manner = 'never'


class Sender(Member):
    def work(self, load, rng):
        while True:
            for _ in range(rng.choice((1, 3, 10, 25))):
                self.message(rng.choice(self.party.targets))
            if rng.random() < 0.7:
                self.ask()
            self.read(rng.uniform(0, 0.02))
            while len(self.unacked) > WINDOW:
                self.ask()
                self.read(0.05)


class Handed(Never):
    """Leaves, so that messages are stored, and is in the middle of getting them at the end."""

    def work(self, load, rng):
        if self.link:
            self.leave(load.dying)
        pause = threading.Event()       # never set: the time others need to write to us
        if pause.wait(rng.uniform(0.1, 0.6)) or load.dying.is_set():
            return
        self.enter()
        while True:
            self.read(10)


class Editor(Member):
    """One operation at a time, each answered, whatever happens meanwhile."""
    CONTACTS = [f'k{n}@{HOST}' for n in range(10)]

    def edit(self, key, value, xml):
        registers, link = self.world.registers, self.link
        registers.begin(key, value)

        def done(el):
            condition = stanza_error(el)[1] if el.get('type') == 'error' else None
            # Removed, but the server died before it could say so: it was sent again.
            twice = value is ABSENT and condition == 'item-not-found' and self.link is not link
            if condition and not twice:
                registers.refuse(key, condition)
            else:
                registers.done(key)

        self.iq(xml, done)

    def work(self, load, rng):
        while True:
            while self.pending:
                self.read(0.05)
            n = self.count
            what = rng.randrange(4)
            if what == 0:
                self.edit(('vcard', self.user), f'sm-{n}', "<iq type='set' id='{id}'>"
                          f"<vCard xmlns='{VCARD}'><FN>sm-{n}</FN></vCard></iq>")
            elif what == 1:
                ns = 'urn:example:sm'
                self.edit(('private', self.user, ns), f'sm-{n}', "<iq type='set' id='{id}'>"
                          f"<query xmlns='{PRIVATE}'><note xmlns='{ns}'>sm-{n}</note></query></iq>")
            else:
                self.edit_roster(rng, n)

    def edit_roster(self, rng, n):
        jid = rng.choice(self.CONTACTS)
        key = ('item', self.user, jid)
        remove = self.world.registers.is_there(key) and rng.random() < 0.3
        self.edit(key, ABSENT if remove else (f'sm-{n}', ()), "<iq type='set' id='{id}'>"
                  f"<query xmlns='{ROSTER}'><item jid='{jid}' " +
                  ("subscription='remove'" if remove else f"name='sm-{n}'") + '/></query></iq>')


class Watcher(Member):
    """Sees the others come, and must not see them go: their sessions last."""

    def begin(self):
        super().begin()
        self.seen = set()

    def watch(self, members):
        for m in members:
            self.say(f"<presence type='subscribe' to='{m.jid}'/>")

    def note_presence(self, el):
        who, _, resource = el.get('from', '').partition('/')
        if el.get('type') is None and resource and who != self.jid:
            self.seen.add(who)
        elif el.get('type') == 'unavailable':
            self.party.flaps += 1
            self.problem(f'sees {who} go')


class Party:
    """All of them."""
    ROLES = {'m0': Sender, 'm1': Sender, 'q0': Member, 'l0': Late, 'n0': Never, 'h0': Handed,
             'e0': Editor, 'y0': Watcher}
    RECIPIENTS = ['q0', 'l0', 'n0', 'h0']

    def __init__(self, world, offline):
        self.world = world
        self.targets = [*self.RECIPIENTS, *offline]
        self.resumed = self.deaths = self.flaps = self.young = 0
        self.members = [role(self, user) for user, role in self.ROLES.items()]
        for m in self.members:
            world.server.add_user(m.jid)
            m.enter()
        watched = [m for m in self.members if m.user not in ('y0', 'h0')]
        self.watcher = self.members[-1]
        self.watcher.watch(watched)
        names = {m.jid for m in watched}
        assert self.pump(lambda: names <= self.watcher.seen), f'{names - self.watcher.seen}: unseen'

    def jobs(self, load):
        return [(lambda user, rng, m=m: m.work(load, rng), m.user) for m in self.members]

    def staying(self):
        return [m.user for m in self.members if m.user != 'h0']

    def pump(self, until):
        """Everybody reads, until that is true or nothing comes any more."""
        last, mark = time.monotonic(), None
        while not until():
            for m in self.members:
                m.read(0.002)
            now = [(m.got, m.h) for m in self.members]
            if now != mark:
                last, mark = time.monotonic(), now
                for m in self.members:
                    if m.unacked:
                        m.ask()
            elif time.monotonic() > last + self.world.quiet:
                return False
        return True

    def settle(self):
        """After a death: all come back, what is under way comes to its end, nothing is missing."""
        for m in random.Random(self.world.rng.random()).sample(self.members, len(self.members)):
            if m.id is None:
                m.deny()
                m.enter()
                continue
            self.deaths += 1
            m.resume()
        self.pump(self.settled)
        for m in self.members:          # and behind everything that could still be on its way
            m.iq(f"<iq type='get' id='{{id}}'><barrier xmlns='{BARRIER}'/></iq>", lambda el: None)
        self.pump(self.settled)
        for m in self.members:
            self.judge(m)

    def settled(self):
        return not any(m.unacked or m.pending or m.forgotten() or self.messages_missing(m.user)
                       for m in self.members)

    def messages_missing(self, user):
        return user in self.RECIPIENTS and self.world.messages.missing(user) - self.world.lost

    def judge(self, m):
        world = self.world
        if m.unacked:
            m.problem(f'{len(m.unacked)} stanzas are never acknowledged, as {m.unacked[0][0]:.200}')
        if m.pending:
            m.problem(f'requests are never answered: {sorted(m.pending)[:5]}')
            m.pending.clear()
        if m.forgotten():
            world.count['forgotten'] += len(m.forgotten())
            m.problem(f'forgotten: {len(m.forgotten())} had come, were not acknowledged, and do '
                      f'not come again, as {m.forgotten()[:5]}')
        m.denied = {}
        m.remember()                    # at the next resumption, whatever is told before
        missing = self.messages_missing(m.user)
        if missing:
            world.lost |= missing
            m.problem(f'lost: {len(missing)}, as {sorted(missing)[:5]}')

    def leave(self):
        """The end of all: what is left in the queues goes where it belongs."""
        for m in reversed(self.members):        # the watcher first: now they may be seen to go
            try:
                m.leave(threading.Event())
            except GONE as e:
                m.problem(f'cannot leave: {e!r}')
