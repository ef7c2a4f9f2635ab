"""tests/wire/tap.py: runs a file's unittest classes and prints TAP, for scripts/test.

A test file ends with `if __name__ == '__main__': tap.main()`. Cases are named after their methods;
`python3 test_x.py NAME...` runs only those whose name contains one of the words."""
import sys
import time
import traceback
import unittest


class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.count = 0
        self.begun = 0.0

    def line(self, good, test, note=''):
        self.count += 1
        name = getattr(test, '_testMethodName', None) or str(test).replace(' ', '_')
        print(f'{"ok" if good else "not ok"} {self.count} - {name}{note}', flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.begun = time.monotonic()
        self.bad_subtest = False
        print(f'# {test._testMethodName}', flush=True)

    def trouble(self, test, err):
        for text in traceback.format_exception(*err):
            for part in text.rstrip().split('\n'):
                print(f'#   {part}')
        self.line(False, test)

    def addSuccess(self, test):
        super().addSuccess(test)
        if not self.bad_subtest:
            self.line(True, test)
        print(f'#   {time.monotonic() - self.begun:.2f} s')

    def addError(self, test, err):
        super().addError(test, err)
        self.trouble(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.trouble(test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line(True, test, f' # SKIP {reason}')

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.line(True, test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        print('#   was expected to fail')
        self.line(False, test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is None:
            return
        print(f'#   in {subtest}')
        for text in traceback.format_exception(*err):
            for part in text.rstrip().split('\n'):
                print(f'#   {part}')
        if not self.bad_subtest:                       # one line per case, however many parts fail
            self.bad_subtest = True
            self.line(False, test)


def chosen(suite, words):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from chosen(test, words)
        elif not words or any(w in test._testMethodName for w in words):
            yield test


def main():
    loaded = unittest.defaultTestLoader.loadTestsFromModule(sys.modules['__main__'])
    suite = unittest.TestSuite(chosen(loaded, sys.argv[1:]))
    print(f'1..{suite.countTestCases()}', flush=True)
    result = Result()
    suite.run(result)
    sys.exit(0 if result.wasSuccessful() and result.count else 1)
