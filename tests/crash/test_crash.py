"""kill -9 in a loop while messages go to users who are away and rosters, vCards, private data and
accounts change: nothing that was acknowledged is lost (reliability C1), nor by a stop (C3).
test-timeout: 1500

GRAPNEL_CRASH_CYCLES: how often. GRAPNEL_CRASH_SEED: what the clients do, as an earlier run printed
it. The judges are tested with made-up losses, and the whole with a server whose disk forgets."""
import os
import shutil
import unittest

import tap
from ledger import ABSENT, Messages, Registers, body_of
from server import SLOW
from world import SEED, World

CYCLES = int(os.environ.get('GRAPNEL_CRASH_CYCLES') or 5)


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


class Crash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f'# GRAPNEL_CRASH_SEED={SEED}')

    def judge(self, world):
        summary = world.finish()
        self.assertEqual(world.problems, [])
        self.assertGreater(summary['messages_acked'], 20 * summary['cycles'])
        for kind in ('item', 'ask', 'wish', 'vcard', 'private', 'account'):
            self.assertGreater(summary['acked'].get(kind, 0), 0, f'no {kind} was acknowledged')
        self.assertLess(summary['start_s']['median'], 1 * SLOW)
        return summary

    def test_kill_cycles(self):
        world = World('kill')
        for _ in range(CYCLES):
            world.kill_cycle()
        self.judge(world)

    def test_term_cycles(self):
        world = World('term')
        for _ in range(max(2, CYCLES // 5)):
            world.term_cycle()
        summary = self.judge(world)
        self.assertLess(summary['stop_s']['max'], 5 * SLOW)

    def test_control(self):
        """The same with a disk that forgets: the folder goes back to what it was before."""
        world = World('control', show=3)
        world.kill_cycle()
        world.server.kill()
        shutil.copytree(world.server.data, f'{world.server.dir}/old',
                        ignore=shutil.ignore_patterns('*.sock'))
        world.start()

        def forget():
            shutil.rmtree(world.server.data)
            shutil.move(f'{world.server.dir}/old', world.server.data)

        world.kill_cycle(meanwhile=forget)
        summary = world.finish()
        found = '\n'.join(world.problems)
        self.assertGreater(summary['messages']['lost'], 0)
        for what in ('lost for o0', "('item', ", "('vcard', ", "('private', ", "('account', "):
            self.assertIn(what, found)


if __name__ == '__main__':
    tap.main()
