"""A server dies again and again, killed, stopped, cut off or without power, while messages go to
users who are away, silent or slow and rosters, vCards, private data and accounts change: nothing
that was acknowledged is lost, every session is resumed (docs/reliability.md).
test-timeout: 3600

GRAPNEL_CRASH_CYCLES: how often in each way. GRAPNEL_CRASH_KIND: kill, term, none or power alone.
GRAPNEL_CRASH_SEED: what the clients do, as an earlier run printed it. The judges are tested with
made-up losses, and the whole with servers that break their word."""
import collections
import functools
import os
import shutil
import unittest
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import tap
from archive import Archive
from client import CLIENT, GONE, q
from disk import Disk, NoDisk
from ledger import ABSENT, Messages, Registers, body_of
from server import LOOPS, SANITIZED, SLOW, TMP
from sm import Member, Watcher
from world import KINDS, SEED, World, have
from xmpp import Failure

CYCLES = int(os.environ.get('GRAPNEL_CRASH_CYCLES') or 3)
KIND = os.environ.get('GRAPNEL_CRASH_KIND', '')
HAVE_SM = have('stream_management')
assert KIND in ('', *KINDS), f'GRAPNEL_CRASH_KIND is one of {", ".join(KINDS)}'


class Judges(unittest.TestCase):
    """A test of the judges: everything they are to find, made up."""

    def messages(self, *arrivals, acked=6):
        m = Messages()
        ids = [m.new('s0', 'o0') for _ in range(8)]
        m.ack(ids[:acked])
        for session, n, *rest in arrivals:
            id_ = f's0/o0/{n}'
            m.arrived('o0', session, id_, rest[0] if rest else body_of(id_),
                      rest[1] if len(rest) > 1 else True)
        return {kind: found for kind, found in m.judge('o0').items() if found}

    def test_self_test_messages(self):
        whole = [(1, n) for n in range(1, 7)]
        self.assertEqual(self.messages(*whole), {})
        self.assertEqual(self.messages(*whole, (1, 7)), {})     # there all the same
        self.assertEqual(self.messages(*whole[:-1]), {'lost': ['s0/o0/6']})
        self.assertEqual(self.messages(*whole[1:]), {'lost': ['s0/o0/1']})
        self.assertEqual(len(self.messages()['lost']), 6)
        self.assertEqual(self.messages(*whole, (2, 6)), {'again': ['s0/o0/6']})
        self.assertEqual(self.messages(*whole, (1, 6)),
                         {'again': ['s0/o0/6'], 'twice_in_a_session': ['s0/o0/6']})
        self.assertEqual(self.messages(*whole, (1, 99)), {'corrupt': ['s0/o0/99']})
        self.assertEqual(self.messages(*whole, (1, 7, body_of('s0/o0/7')[:-1])),
                         {'corrupt': ['s0/o0/7']})
        self.assertEqual(self.messages((1, 2), (1, 1), *whole[2:]),
                         {'reordered_stored': ['s0/o0/1']})
        live = [(1, n, body_of(f's0/o0/{n}'), False) for n in (2, 1)]
        self.assertEqual(self.messages(*live, *whole[2:]), {'reordered_live': ['s0/o0/1']})
        self.assertEqual(self.messages(live[0], *whole[:1], *whole[2:]), {'overtaken': ['s0/o0/1']})
        self.assertEqual(self.messages((2, 1), (2, 2), (2, 1), (3, 1), *whole[2:])
                         ['twice_in_a_session'], ['s0/o0/1'])

    def test_self_test_registers(self):
        r, key = Registers(), ('vcard', 'v0')
        self.assertIsNone(r.check(key, ABSENT))
        self.assertIsNotNone(r.check(key, 'never written'))
        r = Registers()
        r.begin(key, 'one')
        r.done(key)
        self.assertIsNone(r.check(key, 'one'))
        r.begin(key, 'two')
        r.done(key)
        self.assertIsNotNone(r.check(key, 'one'))               # two was acknowledged
        r.begin(key, 'three')
        r.done(key)
        r.begin(key, 'four')
        self.assertIsNone(r.check(key, 'three'))                # four was under way
        self.assertIsNotNone(r.check(key, 'four'))              # ... and has not happened: late
        r.begin(key, 'five')
        self.assertIsNone(r.check(key, 'five'))
        self.assertIsNotNone(r.check(key, 'four'))
        r.begin(key, 'six')
        r.refuse(key, 'not-allowed')
        self.assertIsNotNone(r.check(key, 'six'))
        self.assertIsNotNone(r.check(key, ABSENT))
        self.assertEqual(r.acks['vcard'], 3)


@unittest.skipUnless(HAVE_SM, 'without mod_stream_management')
class SessionJudges(unittest.TestCase):
    """The same for those with sessions."""

    class Nobody(Member):
        """Without a server."""

        def __init__(self, manner):
            self.manner = manner
            world = SimpleNamespace(messages=Messages(), problem=self.found, lost=set(),
                                    count=collections.Counter())
            self.problems = []
            super().__init__(SimpleNamespace(world=world), 'n0')
            self.sent = []
            self.link = SimpleNamespace(session=1, send=self.sent.append)

        def found(self, text):
            self.problems.append(text)

        def get(self, *numbers):
            for n in numbers:
                id_ = f's0/n0/{n}'
                el = ET.Element(q(CLIENT, 'message'), id=id_)
                ET.SubElement(el, q(CLIENT, 'body')).text = body_of(id_)
                self.note(el)

        def die(self):
            """As resume() counts."""
            self.denied, self.got = self.deny(), self.told
            self.last_denied.clear()
            self.link.session += 1

    def member(self, manner='never'):
        m = self.Nobody(manner)
        for _ in range(6):
            m.messages.new('s0', 'n0')
        return m

    def verdict(self, m):
        return {k: v for k, v in m.messages.judge('n0').items() if v}

    def test_self_test_forgotten(self):
        m = self.member()
        m.get(1, 2, 3)
        m.messages.ack(['s0/n0/1', 's0/n0/2'])
        m.die()
        self.assertEqual(m.forgotten(), ['s0/n0/1', 's0/n0/2'])     # the third was not acknowledged
        m.get(1)
        self.assertEqual(m.forgotten(), ['s0/n0/2'])
        m.get(2)
        self.assertEqual((m.forgotten(), m.problems), ([], []))
        self.assertEqual(self.verdict(m), {'denied': ['s0/n0/1', 's0/n0/2']})
        m.get(1)
        self.assertEqual(self.verdict(m)['twice_in_a_session'], ['s0/n0/1'])
        m.messages.arrived('n0', 2, 's0/n0/2', body_of('s0/n0/2'), True)
        self.assertEqual(self.verdict(m)['handed'], ['s0/n0/2'])    # it was in the store as well
        m.messages.arrived('n0', 2, 's0/n0/2', body_of('s0/n0/2'), True)
        self.assertEqual(self.verdict(m)['again'], ['s0/n0/1', 's0/n0/2'])

    def test_self_test_duplicates(self):
        m = self.member('prompt')
        m.get(1, 2)
        m.tell()
        m.die()
        m.get(2)
        self.assertEqual(self.verdict(m), {'again': ['s0/n0/2']})
        m.messages.again(['s0/n0/2'], ())
        self.assertEqual(self.verdict(m), {'resent': ['s0/n0/2']})

    def test_self_test_causes(self):
        m = Messages()
        m.again(['s0/o0/1', 's0/q0/1', 's0/o0/2', 's0/q0/2'], ['q0'])
        self.assertEqual(list(m.waited.values()), ['store', 'ack', 'behind', 'ack'])
        self.assertEqual(set(m.resent.values()), {1})

    def test_self_test_order(self):
        m = self.member()
        m.get(1, 2, 3, 1)               # once more, as its sender sent it twice
        m.die()
        m.get(1, 2, 3, 1)
        self.assertEqual(m.problems, [])
        m.die()
        m.get(2, 1)
        self.assertIn('in another order', m.problems[0])

    def test_self_test_counts(self):
        m = self.member()
        for _ in range(3):
            m.message('o0')
        m.acknowledged(2)
        self.assertEqual((m.messages.acked, m.problems), ({'n0/o0/1', 'n0/o0/2'}, []))
        m.acknowledged(4)
        m.acknowledged(1)
        self.assertEqual(len(m.problems), 2)

    def test_self_test_flap(self):
        m = self.member()
        m.party.flaps = 0
        see = functools.partial(ET.Element, q(CLIENT, 'presence'))
        m.jid, m.seen = 'y0@localhost', set()
        Watcher.note_presence(m, see({'from': 'q0@localhost/r'}))
        self.assertEqual((m.seen, m.problems), ({'q0@localhost'}, []))
        Watcher.note_presence(m, see({'from': 'q0@localhost/r', 'type': 'unavailable'}))
        self.assertEqual((m.party.flaps, len(m.problems)), (1, 1))

    def test_self_test_archive(self):
        m, a = Messages(), Archive('o0')
        ids = [m.new('s0', 'o0') for _ in range(3)]
        m.ack(ids[:2])
        self.assertIn('lost: 2', a.judge(m)[0])
        a = Archive('o0')
        for where, id_ in (('x', ids[0]), ('y', ids[1])):
            self.assertIsNone(a.note(where, id_, body_of(id_)))
        self.assertEqual(a.judge(m), [])
        self.assertIn('not stable', a.note('x', ids[1], body_of(ids[1])))
        self.assertIn('corrupt', a.note('z', ids[1], 'another'))
        a.note('z', ids[1], body_of(ids[1]))
        self.assertIn('more than once', a.judge(m)[0])
        self.assertEqual(a.judge(m), [])                            # told once
        m.stanza_ids['o0', ids[0]].update(('w', 'x'))
        self.assertIn('another id', a.judge(m)[0])
        a.told.clear()
        m.resent[ids[0]] = m.resent[ids[1]] = 1                     # the server had forgotten it
        self.assertEqual(a.judge(m), [])
        m.stanza_ids['o0', ids[0]].remove('x')
        self.assertIn('another id', a.judge(m)[0])


def kind(name):
    """The case is one of that kind."""
    return unittest.skipUnless(KIND in ('', name), f'GRAPNEL_CRASH_KIND={KIND}')


class Crash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f'# GRAPNEL_CRASH_SEED={SEED}')

    def world(self, *args, **how):
        try:
            return World(*args, **how)
        except NoDisk as e:
            raise unittest.SkipTest(str(e)) from None

    def cycles(self, name):
        world = self.world(name)
        for _ in range(CYCLES):
            world.cycle()
        summary = world.finish()
        self.assertEqual(world.problems, [])
        self.assertGreater(summary['messages_acked'], 20 * summary['cycles'])
        for what in ('item', 'ask', 'wish', 'vcard', 'private', 'account'):
            self.assertGreater(summary['acked'].get(what, 0), 0, f'no {what} was acknowledged')
        self.assertLess(summary['start_s']['median'], 1 * SLOW)
        if HAVE_SM:
            self.assertEqual(summary['sm']['resumed'] + summary['sm']['too_young'],
                             summary['sm']['sessions'])
            self.assertGreater(summary['sm']['sessions'], 6 * CYCLES)
            self.assertGreater(summary['messages']['denied'], 0, 'nothing had to come again')
            if name in ('term', 'none'):    # the server knows what it has handled
                self.assertEqual(summary['messages']['resent'], 0, 'handled twice')
        return summary

    @kind('kill')
    def test_kill_cycles(self):
        self.cycles('kill')

    @kind('term')
    def test_term_cycles(self):
        self.assertLess(self.cycles('term')['stop_s']['max'], 5 * SLOW)

    @kind('none')
    def test_none_cycles(self):
        self.cycles('none')

    @kind('power')
    def test_power_cycles(self):
        self.cycles('power')


@unittest.skipUnless(LOOPS == '1', 'what is tested here are the tests')
class Controls(unittest.TestCase):
    """Servers that break their word, in every way of dying: they have to be found out."""
    world = Crash.world

    def control(self, name, *expected, before=None, meanwhile=None, **how):
        world = self.world(name, f'control_{name}', show=3, quiet=0.5 * SLOW, **how)
        world.cycle(meanwhile=before(world) if before else None)
        try:
            world.cycle(meanwhile=meanwhile(world) if meanwhile else None)
        except (AssertionError, Failure, *GONE) as e:
            world.problem(f'the server is not well: {e!r}')
        summary = world.finish()
        found = '\n'.join(world.problems)
        for what in expected:
            self.assertIn(what, found)
        return summary

    LOSSES = ('lost for o0', "('item', ", "('vcard', ", "('private', ", "('account', ",
              *(('not resumed as it was', ) if HAVE_SM else ()),
              *(('archive of o0: lost', ) if have('mam') else ()))

    @staticmethod
    def forgetting(world):
        """A disk that forgets: the folder goes back to what it was before the load."""
        old = f'{world.server.dir}/old'
        world.server.kill()
        shutil.copytree(world.server.data, old, ignore=shutil.ignore_patterns('*.sock'))
        world.start()
        if world.party:
            world.party.settle()

        def forget():
            shutil.rmtree(world.server.data)
            shutil.move(old, world.server.data)
        return forget

    @kind('kill')
    def test_control_kill(self):
        self.control('kill', *self.LOSSES, meanwhile=self.forgetting)

    @kind('term')
    def test_control_term(self):
        self.control('term', *self.LOSSES, meanwhile=self.forgetting)

    @kind('none')
    @unittest.skipUnless(HAVE_SM, 'without mod_stream_management')
    def test_control_none(self):
        """Sessions that end with their connection."""
        self.control('none', 'is not resumed', resume_timeout='never')

    @kind('power')
    @unittest.skipIf(SANITIZED, 'sanitizers want to be the first library')
    def test_control_power(self):
        """A store that does not sync."""
        def unsynced(world):
            world.sync = False
        self.control('power', before=lambda w: lambda: unsynced(w), *self.LOSSES)

    @kind('power')
    def test_control_disk(self):
        """What was synced is there, what was not is gone, both ways."""
        for live in (False, True):
            base = f'{TMP}/disk-{live}'
            os.makedirs(base)
            try:
                disk = Disk(base, f'{base}/mnt')
            except NoDisk as e:
                self.skipTest(str(e))
            with open(f'{disk.folder}/a', 'wb') as f:
                f.write(b'a' * 10000)
                os.fsync(f.fileno())
                f.write(b'b' * 10000)
                f.flush()
                if live:
                    disk.power_off()
                    with self.assertRaises(OSError):
                        os.fsync(f.fileno())
            disk.power_on()
            with open(f'{disk.folder}/a', 'rb') as f:
                self.assertEqual(f.read(), b'a' * 10000)
            disk.remove()


if __name__ == '__main__':
    tap.main()
