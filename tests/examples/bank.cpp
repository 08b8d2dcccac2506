// SPDX-License-Identifier: MIT
// A bank of a thousand actors. Each account is an object whose methods run one at a time, so it needs no lock.
//
//  - A transfer withdraws from one account, which may refuse, and deposits to another. The `co_await` or `get()`
//    of the caller throws the exception of the account.
//  - Half of the clerks are coroutines, which occupy no thread while they wait in `co_await`; the others are plain
//    functions that block in `get()`. A pool of two threads is enough for both.
//  - The history of an account is a generator. It is a method too: no deposit runs before it has ended.

#include <dyngen/dyngen.hpp>

#include <cstdio>
#include <exception>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace dg = dyngen;

namespace {

struct insufficient_funds : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class account {
 public:
  explicit account(int balance) { deposit(balance); }

  void deposit(int amount) {
    balance_ += amount;
    history_.push_back(amount);
  }
  void withdraw(int amount) {
    if (amount > balance_) {
      ++refused_;
      throw insufficient_funds(std::to_string(balance_) + " is less than " + std::to_string(amount));
    }
    deposit(-amount);  // a method calls others of its own object directly
  }
  int balance() const { return balance_; }
  int refused() const { return refused_; }
  dg::generator<int> history() const {
    for (const int change : history_) co_yield change;
  }

 private:
  int balance_ = 0, refused_ = 0;
  std::vector<int> history_;
};

using bank = std::vector<dg::actor<account>>;

/// Between the two steps the money is in no account.
dg::task<void> transfer(const dg::actor<account>& from, const dg::actor<account>& to, int amount) {
  co_await from.submit(&account::withdraw, amount);
  co_await to.submit(&account::deposit, amount);
}

/// Makes a thousand random transfers; returns how many were refused.
dg::task<int> clerk_who_awaits(const bank& accounts, unsigned seed) {
  std::minstd_rand random(seed);
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto &from = accounts[random() % accounts.size()], &to = accounts[random() % accounts.size()];
    try {
      co_await transfer(from, to, static_cast<int>(1 + random() % 200));
    } catch (const insufficient_funds&) {
      ++refused;
    }
  }
  co_return refused;
}

int clerk_who_blocks(const bank& accounts, unsigned seed) {
  std::minstd_rand random(seed);
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto &from = accounts[random() % accounts.size()], &to = accounts[random() % accounts.size()];
    const int amount = static_cast<int>(1 + random() % 200);
    try {
      from.submit(&account::withdraw, amount).get();
      to.submit(&account::deposit, amount).get();
    } catch (const insufficient_funds&) {
      ++refused;
    }
  }
  return refused;
}

int sum(const std::vector<int>& numbers) { return std::accumulate(numbers.begin(), numbers.end(), 0); }
/// Asks all accounts, and only then waits for the answers.
int sum_of(const bank& accounts, int (account::*method)() const) {
  std::vector<dg::ref<int>> answers;
  for (const dg::actor<account>& one : accounts) answers.push_back(one.submit(method));
  return sum(dg::get(answers));
}

void two_accounts(dg::thread_pool& pool) {
  const dg::actor<account> ada = pool.make_actor<account>(100), bob = pool.make_actor<account>(100);
  for (int times = 0; times < 2; ++times) {
    try {
      pool.submit(transfer, ada, bob, 70).get();
      std::printf("ada gives bob 70: done\n");
    } catch (const insufficient_funds& refusal) {
      std::printf("ada gives bob 70: refused, %s\n", refusal.what());
    }
  }
  std::printf("ada's history:");
  for (const int change : ada.submit(&account::history).values()) std::printf(" %+d", change);
  std::printf(", balance %d\n", ada.submit(&account::balance).get());
}

void thousand_accounts(dg::thread_pool& pool) {
  bank accounts;
  for (int i = 0; i < 1000; ++i) accounts.push_back(pool.make_actor<account>(100));
  std::printf("%zu accounts hold %d\n", accounts.size(), sum_of(accounts, &account::balance));

  const dg::ref<bank> shared = dg::put(accounts);  // all clerks read this one vector of handles
  std::vector<dg::ref<int>> clerks;
  for (unsigned seed = 1; seed <= 8; ++seed) {
    clerks.push_back(pool.submit(clerk_who_awaits, shared, seed));
    clerks.push_back(pool.submit(clerk_who_blocks, shared, 100 + seed));
  }
  const int refused = sum(dg::get(clerks));
  std::printf("after %zu000 transfers they hold %d\n", clerks.size(), sum_of(accounts, &account::balance));
  if (refused == 0 || refused != sum_of(accounts, &account::refused)) throw std::logic_error("the refusals differ");
  for (const dg::actor<account>& one : accounts) {
    int rest = one.submit(&account::balance).get();
    for (const int change : one.submit(&account::history).values()) rest -= change;
    if (rest != 0) throw std::logic_error("a history does not add up");
  }
  std::printf("the refusals are those that the accounts know of, and every history makes its balance\n");
}

}  // namespace

int main() {
  try {
    dg::thread_pool pool(2);
    two_accounts(pool);
    thousand_accounts(pool);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bank: %s\n", error.what());
    return 1;
  }
}
