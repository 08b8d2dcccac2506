// SPDX-License-Identifier: MIT
// A user's program that uses much of the library. warnings.py compiles it, with the
// warnings that a user may enable; it is never run.

#include <dyngen/dyngen.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iostream>
#include <list>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace dg = dyngen;
using namespace std::chrono_literals;

namespace {

// ---- Values of several kinds: trivial, owning, move-only, larger than a block of a buffer ----

struct large {
  std::array<int, 1000> numbers{};
};

int twice(int i) { return 2 * i; }
int length(const std::string& text) { return static_cast<int>(text.size()); }
void nothing() {}

dg::generator<int> numbers(int n) {
  for (int i = 0; i < n; ++i) co_yield i;
}
dg::generator<std::string> words(std::string text) {
  for (const char letter : text) co_yield std::string(3, letter);
}
dg::generator<std::unique_ptr<int>> owners(int n) {
  for (int i = 0; i < n; ++i) co_yield std::make_unique<int>(i);
}
dg::generator<large> large_ones(int n) {
  for (int i = 0; i < n; ++i) co_yield dg::emplace();
}
dg::generator<int> nested(int n) {
  co_yield dg::elements_of(numbers(n));
  const std::vector<int> more{1, 2, 3};
  co_yield dg::elements_of(more);
}
dg::tuple_generator<int, std::string> pair_of(int i) {
  co_yield i;
  co_yield std::to_string(i);
}

// ---- Streams ----

template <class T>
std::size_t read(dg::ref_stream<T> stream) {
  std::size_t read = 0;
  if (std::optional<dg::ref<T>> first = stream.next()) read += first->ready() ? 1u : 0u;
  if (const std::optional<T> second = stream.next_value()) ++read;
  if (const auto third = stream.try_next()) third->get();
  if (const auto fourth = stream.next_for(1s)) fourth->get();
  for (const T& value : stream.values()) {
    static_cast<void>(value);
    if (++read == 100) break;
  }
  for (dg::ref<T> one : stream) {
    static_cast<void>(std::move(one).take());
    if (++read == 200) break;
  }
  read += stream.finished() ? 1u : 0u;
  stream.cancel();
  stream.completion().wait();
  return read;
}

template <class T>
dg::task<int> read_in_coroutine(dg::ref_stream<T> stream) {
  int read = 0;
  if (const auto first = co_await stream.async_next()) ++read;
  while (const std::optional<T> value = co_await stream.async_value()) ++read;
  co_return read;
}

void streams(dg::thread_pool& pool) {
  read(pool.submit(numbers, 1000));
  read(pool.submit(words, "some letters"));
  read(pool.submit(owners, 1000));
  read(pool.options(dg::backpressure{4}).submit(large_ones, 1000));
  pool.submit(read_in_coroutine<int>, pool.submit(nested, 10)).get();
  pool.submit(read_in_coroutine<std::string>, pool.options(dg::unbounded).submit(words, "letters")).get();
  pool.submit(read_in_coroutine<std::unique_ptr<int>>, pool.submit(owners, 10)).get();
  const dg::budget bytes(1000);
  const auto cost = [](const std::string& word) { return word.size(); };
  for (const std::string& word : pool.options(dg::backpressure_by(bytes, cost)).submit(words, "letters").values())
    std::cout << word;
  pool.submit(numbers, 3).detach();
  for (int& number : numbers(3)) ++number;
}

// ---- Other numbers of values ----

void counts(dg::thread_pool& pool) {
  const auto [a, b] = pool.options(dg::num_returns<2>{}).submit(words, "ab");
  std::cout << a.get() << b.get() << a << '\n';
  for (dg::ref<std::unique_ptr<int>>& one : pool.options(dg::num_returns{3}).submit(owners, 3))
    static_cast<void>(std::move(one).take());
  static_cast<void>(pool.options(dg::num_returns<2>{}, dg::all_or_nothing).submit(numbers, 2)[1].get());
  const dg::ref<dg::ref_list<std::string>> list = pool.options(dg::dynamic).submit(words, "abc");
  for (const dg::ref<std::string>& word : list.get()) std::cout << word.get();
  for (const std::string& word : list.get().values()) std::cout << word;
  std::cout << list.get().at(1).get() << list.get() << list.get().completion();
  pool.options(dg::dynamic).submit(large_ones, 3).get()[2].wait();
  auto [number, text] = pool.submit(pair_of, 3);
  std::cout << number.get() << std::move(text).get();
  auto [first, second] = pool.options(dg::num_returns<2>{}).submit([] { return std::pair<int, std::string>(1, "one"); });
  std::cout << first.get() << second.get();
  for (const dg::ref<int>& one : pool.options(dg::dynamic).submit([] { return std::vector<int>{1, 2, 3}; }).get())
    std::cout << one.get();
}

// ---- Refs ----

int add(int a, const std::string& b, std::unique_ptr<int> c) { return a + length(b) + *c; }
int of_refs(std::vector<dg::ref<int>> refs) { return static_cast<int>(refs.size()); }

void refs(dg::thread_pool& pool) {
  dg::ref<int> sum = pool.submit(add, dg::put(1), dg::put(std::string("two")), dg::consume(dg::put(std::make_unique<int>(3))));
  dg::ref<int> copy = sum;
  copy = sum;
  std::cout << copy.get_for(1s) << copy.failed() << copy.ready() << copy.wait_for(1ms) << copy.id().task << (copy == sum);
  if (const std::exception_ptr failure = sum.error()) std::rethrow_exception(failure);
  auto held = pool.submit([] { return std::optional<dg::ref<int>>(dg::put(1)); });
  const std::optional<dg::ref<int>> inner = std::move(held).get();
  const auto of_all_kinds = pool.submit([] { return std::variant<std::monostate, std::string, dg::ref<int>>(dg::put(1)); }).get();
  auto pairs = pool.submit([] { return std::pair<std::string, std::optional<dg::ref<std::string>>>("a", std::nullopt); });
  const auto pair = std::move(pairs).get();
  std::cout << (inner ? inner->get() : 0) << of_all_kinds.index() << pair.first;

  std::vector<dg::ref<int>> all;
  for (int i = 0; i < 10; ++i) all.push_back(pool.options(dg::after(sum), dg::name{"twice"}).submit(twice, i));
  auto [ready, pending] = dg::wait(all, 3);
  auto some = dg::wait(std::move(pending), 2, 10ms);
  std::cout << ready.size() << some.ready.size() << dg::wait_any(all) << dg::wait_any_for(1s, all[0], all[1]);
  const auto [x, y] = dg::get(all[0], dg::put(std::string("y")));
  std::cout << x << y << dg::get(all).size() << pool.submit(of_refs, all).get() << dg::cancel(all[0]);
  all.clear();
  dg::ref_stream<int> left = pool.submit(numbers, 3);
  dg::ref_stream<int> right = pool.submit(numbers, 3);
  std::cout << dg::wait_any(left, right);
  pool.submit(nothing).get();
}

// ---- Coroutines ----

dg::task<int> gives(int i) { co_return i; }
dg::task<std::string> gives_text(std::string text) { co_return text; }
dg::task<void> gives_nothing() { co_await dg::this_task::yield(); }
dg::task<std::unique_ptr<int>> gives_owner(int i) { co_return std::make_unique<int>(i); }

dg::task<long> waits_for_all(dg::ref<int> one, std::vector<dg::ref<std::string>> others, dg::ref_stream<int> stream) {
  long sum = co_await one;
  sum += co_await gives(3);
  const auto [a, b, c, d, e] = co_await dg::when_all(gives(1), one, gives_nothing(), gives_text("text"), gives_owner(1));
  sum += a + b + length(d) + *e;
  static_cast<void>(c);
  const std::vector<std::string> texts = co_await dg::when_all(others);
  std::vector<dg::task<int>> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(gives(i));
  const std::vector<int> results = co_await dg::when_all(std::move(tasks));
  std::list<dg::task<std::unique_ptr<int>>> more;
  more.push_back(gives_owner(1));
  for (const std::unique_ptr<int>& owner : co_await dg::when_all(std::move(more))) sum += *owner;
  const std::size_t first = co_await dg::when_any(one, stream);
  const std::size_t any = co_await dg::when_any(others);
  std::string text = co_await std::move(others[any]);
  sum += static_cast<long>(texts.size() + results.size() + first) + length(text);
  sum += co_await std::move(one);
  co_return sum;
}

dg::generator<int> waits_and_yields(dg::ref<int> one) {
  const int i = co_await one;
  co_yield i;
  const int j = co_await gives(i);
  co_yield j;
  dg::this_task::throw_if_stop_requested();
}

void coroutines(dg::thread_pool& pool) {
  std::vector<dg::ref<std::string>> texts{dg::put(std::string("a")), pool.submit(gives_text, "b")};
  std::cout << pool.submit(waits_for_all, dg::unresolved(dg::put(1)), texts, pool.submit(numbers, 3)).get();
  for (const int i : pool.submit(waits_and_yields, dg::unresolved(pool.submit(gives, 1))).values()) std::cout << i;
}

// ---- Actors ----

class account {
 public:
  explicit account(int balance) : balance_(balance) {}
  int add(int amount) { return balance_ += amount; }
  const std::string& owner() const { return owner_; }
  std::string name() const { return owner_; }
  dg::generator<int> steps(int n) const {
    for (int i = 0; i < n; ++i) co_yield balance_ + i;
  }
  dg::task<int> later(dg::ref<int> amount) {
    const int more = co_await amount;
    co_return add(more);
  }

 private:
  int balance_;
  std::string owner_ = "ada";
};

void actors(dg::thread_pool& pool) {
  dg::actor<account> one = pool.options(dg::max_concurrency{4}, dg::name{"account"}).make_actor<account>(100);
  const dg::actor<account> copy = one;
  std::cout << one.submit(&account::add, 5).get() << copy.submit(&account::name).get();
  for (const int step : one.submit(&account::steps, 3).values()) std::cout << step;
  std::cout << one.submit(&account::later, dg::unresolved(dg::put(2))).get();
  std::cout << one.options(dg::name{"called"}).submit([](account& a, int i) { return a.add(i); }, dg::put(1)).get();
  one.kill();
}

// ---- Promises, retries, errors ----

bool is_worth_it(std::exception_ptr failure) { return failure != nullptr; }

void promises_and_retries(dg::thread_pool& pool) {
  dg::promise<std::string> text;
  dg::promise<int> number;
  dg::promise<void> event;
  const dg::ref<int> dependent = pool.submit(length, text.get_ref());
  const dg::ref<void> end = event.get_ref();
  text.set_value("text");
  number.set_exception(std::make_exception_ptr(std::runtime_error("no number")));
  event.set_value();
  end.get();
  std::cout << dependent.get();
  std::stop_source source;
  const auto persistent = pool.options(dg::max_retries{2}, dg::retry_if(is_worth_it), dg::stop_on(source.get_token()));
  try {
    std::cout << persistent.submit([] { return dg::this_task::attempt(); }).get();
    for (const std::string& word : persistent.submit(words, "abc").values()) std::cout << word;
    std::cout << persistent.submit(gives, 1).get() << number.get_ref().get();
    const auto all = pool.options(dg::num_returns<3>{}, dg::max_retries{1}).submit(numbers, 3);
    std::cout << all[2].get();
  } catch (const dg::arity_error& error) {
    std::cout << error.expected() << error.yielded();
  } catch (const dg::cancelled_error& error) {
    std::cout << error.what();
  } catch (const dg::error& error) {
    std::cout << error.what();
  }
}

// ---- Executors, inspection ----

void report(std::exception_ptr, std::string_view task) { std::cerr << task; }

void seen() {
  dg::trace trace(1000);
  dg::thread_pool pool({.threads = 2, .name = "seen", .max_spare_threads = 3, .on_unhandled_error = report, .trace = &trace});
  const dg::ref<int> one = pool.options(dg::name{"one"}).submit(twice, 1);
  const dg::ref_stream<int> stream = pool.submit(numbers, 3);
  std::cout << dg::describe(one) << dg::describe(stream) << dg::describe(pool.options(dg::dynamic).submit(numbers, 3).get());
  std::ostringstream text;
  pool.dump(text);
  text << pool.stats() << pool.threads();
  pool.shutdown(dg::shutdown_mode::drain);
  trace.write(text);
  std::cout << text.str() << trace.dropped();

  dg::manual_executor manual;
  const dg::ref<int> two = dg::on(manual).submit(twice, 2);
  dg::ref_stream<std::string> letters = dg::on(manual).options(dg::name{"letters"}).submit(words, "abc");
  manual.run_one();
  manual.run_all();
  std::cout << two.get() << letters.next_value().value_or("none");
  dg::inline_executor here;
  std::cout << dg::on(here).submit(gives, 2).get();
}

}  // namespace

int main() {
  dg::thread_pool pool(2);
  streams(pool);
  counts(pool);
  refs(pool);
  coroutines(pool);
  actors(pool);
  promises_and_retries(pool);
  seen();
}
