"""tests/crash/archive.py: what the archives (XEP-0313) have of what was acknowledged: once for the
sender and once for the recipient, under an id that stays and that the recipient was told
(XEP-0359)."""
import collections

from client import CLIENT, Link, q
from ledger import body_of

MAM, RSM = 'urn:xmpp:mam:2', 'http://jabber.org/protocol/rsm'
FORWARD = 'urn:xmpp:forward:0'
PAGE = 250


class Archive:
    """One account's, read on from where the reading before the last one began."""

    def __init__(self, user):
        self.user = user
        self.ids = {}                           # archive id -> id of the message
        self.copies = collections.defaultdict(list)     # id of the message -> archive ids
        self.starts = ['', '']
        self.told = set()                       # what has been found already

    def note(self, where, id_, body):
        """None, or what is wrong with this row."""
        if body is None or body != body_of(id_):
            return f'corrupt: {where} is {id_} with {body!r:.60}'
        if self.ids.setdefault(where, id_) != id_:
            return f'not stable: {where} was {self.ids[where]}, is {id_}'
        if where not in self.copies[id_]:
            self.copies[id_].append(where)
        return None

    def fetch(self, server):
        """All rows from the start on; what is wrong with them."""
        link, problems = Link(server).enter(self.user, 'archive'), []
        start, again = self.starts
        after, seen = start, set()
        while True:
            rows, complete = self.page(link, after)
            for where, id_, body in rows:
                seen.add(where)
                wrong = self.note(where, id_, body)
                if wrong:
                    problems.append(wrong)
            if complete or not rows:
                break
            after = rows[-1][0]
        link.send('</stream:stream>')
        link.sock.close()
        if again:
            known = list(self.ids)
            due = set(known[known.index(start) + 1 if start else 0:known.index(again) + 1])
            if due - seen:
                problems.append(f'gone: {len(due - seen)} rows, as {sorted(due - seen)[:3]}')
        self.starts = [again, next(reversed(self.ids), '')]
        return problems

    @staticmethod
    def page(link, after):
        more = f'<after>{after}</after>' if after else ''
        answer = link.result(
            f"<iq type='set' id='{{id}}'><query xmlns='{MAM}'>"
            f"<set xmlns='{RSM}'><max>{PAGE}</max>{more}</set></query></iq>")
        rows = []
        for el in link.before:
            result = el.find(q(MAM, 'result'))
            if result is not None:
                message = result.find(f'{q(FORWARD, "forwarded")}/{q(CLIENT, "message")}')
                rows.append((result.get('id'), message.get('id'),
                             message.findtext(q(CLIENT, 'body'))))
        return rows, answer.find(q(MAM, 'fin')).get('complete') == 'true'

    def told_wrong(self, id_, messages):
        """Its recipient was told an id that is not here: only when the server died before anything
        of it was kept, and then another one when its sender sent it again."""
        told = messages.stanza_ids.get((self.user, id_), set())
        wrong = told - set(self.copies[id_])
        return len(wrong) > messages.resent[id_] or wrong and wrong == told

    def judge(self, messages):
        """What was acknowledged and is not there, or more often than its sender had to send it."""
        problems = []
        due = {i for i in messages.acked - messages.refused.keys() if self.user in i.split('/')[:2]}
        missing = due - self.copies.keys() - self.told
        if missing:
            problems.append(f'lost: {len(missing)}, as {sorted(missing)[:5]}')
        many = {i for i, copies in self.copies.items()
                if len(copies) > 1 + messages.resent[i]} - self.told
        if many:
            problems.append(f'more than once: {len(many)}, as {sorted(many)[:5]}')
        other = {i for i in self.copies if self.told_wrong(i, messages)} - self.told
        if other:
            problems.append(f'told another id: {len(other)}, as {sorted(other)[:5]}')
        self.told |= missing | many | other
        return problems
