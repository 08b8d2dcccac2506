// SPDX-License-Identifier: MIT
// Callables of every kind: at submit an argument is stored as the type of its parameter. Here the parameters are `const
// std::string&`, and the argument is an array that is overwritten before the task begins. The additions of C++23 are
// tested in tests/cxx23.

#include "../catch.hpp"
#include "../support.hpp"

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace test_callables {

namespace {

const char* const full_text = "a text that is long enough to be on the heap of this program";

using text = dg::generator<std::string>;

text twice(const std::string& s) {
  co_yield s;
  co_yield s;
}

/// Submits `f` with an array for its text, which is overwritten before the task begins; the other arguments come first.
template <class F, class... Before>
std::vector<std::string> texts_of(F&& f, Before&&... before) {
  dg::manual_executor manual;
  char array[80];
  std::strcpy(array, full_text);
  auto stream = dg::on(manual).submit(std::forward<F>(f), std::forward<Before>(before)..., array);
  std::strcpy(array, "another text");
  manual.run_all();
  std::vector<std::string> seen;
  for (std::string&& s : stream.values()) seen.push_back(std::move(s));
  return seen;
}

const std::vector<std::string> both{full_text, full_text};

struct device {
  text plain(const std::string& s) { return twice_here(s); }
  text constant(const std::string& s) const noexcept { return twice_here(s); }
  text on_lvalue(const std::string& s) & { return twice_here(s); }
  text on_rvalue(const std::string& s) && { return twice_here(s); }
  text changing(const std::string& s) volatile { return twice_here(s); }
  text all(const std::string& s) const volatile&& noexcept { return twice_here(s); }
  text with_more(const std::string& s, ...) { return twice_here(s); }
  static text twice_here(const std::string& s) { return twice(s); }
};

text surely(const std::string& s) noexcept { return twice(s); }
text with_more(const std::string& s, ...) { return twice(s); }

struct functor {
  text operator()(const std::string& s) const { return twice(s); }
};
struct inherited : private std::vector<int>, functor {};
struct once_only {
  text operator()(const std::string& s) && { return twice(s); }
};
struct overloaded {
  text operator()(const std::string& s) const { return twice(s); }
  template <class T>
  auto operator()(T n) const { return n.value + 1; }
  int operator()(int n) const { return n + 1; }
};
struct changing {
  text operator()(const std::string& s) volatile { return twice(s); }
};
struct with_more_of_them {
  text operator()(const std::string& s, ...) const noexcept { return twice(s); }
};

}  // namespace

TEST_CASE("an argument of a function is stored as the parameter's type", "[submit][arguments]") {
  CHECK(texts_of(twice) == both);
  CHECK(texts_of(&twice) == both);
  CHECK(texts_of(surely) == both);
  CHECK(texts_of(with_more) == both);
}

TEST_CASE("an argument of a member function is stored as the parameter's type", "[submit][arguments]") {
  device d;
  CHECK(texts_of(&device::plain, &d) == both);
  CHECK(texts_of(&device::plain, std::ref(d)) == both);
  CHECK(texts_of(&device::plain, std::make_unique<device>()) == both);
  CHECK(texts_of(&device::constant, d) == both);
  CHECK(texts_of(&device::constant, dg::put(device())) == both);
  CHECK(texts_of(&device::on_lvalue, &d) == both);
  CHECK(texts_of(&device::on_rvalue, d) == both);
  CHECK(texts_of(&device::changing, &d) == both);
  CHECK(texts_of(&device::all, d) == both);
  CHECK(texts_of(&device::with_more, &d) == both);
  CHECK(texts_of(std::mem_fn(&device::changing), &d) == both);
}

TEST_CASE("an argument of a class with one operator() is stored as the parameter's type", "[submit][arguments]") {
  CHECK(texts_of(functor()) == both);
  CHECK(texts_of(inherited()) == both);
  CHECK(texts_of(once_only()) == both);
  CHECK(texts_of(changing()) == both);
  CHECK(texts_of(with_more_of_them()) == both);
  CHECK(texts_of([](const std::string& s) { return twice(s); }) == both);
  CHECK(texts_of([](const std::string& s) mutable noexcept { return twice(s); }) == both);
}

TEST_CASE("an argument of a callable wrapped by the standard library is stored as the parameter's type",
          "[submit][arguments]") {
  const auto second = [](int, const std::string& s) { return twice(s); };
  functor f;
  device d;
  CHECK(texts_of(std::ref(f)) == both);
  CHECK(texts_of(std::cref(f)) == both);
  CHECK(texts_of(std::ref(twice)) == both);
  CHECK(texts_of(std::function<text(const std::string&)>(f)) == both);
  CHECK(texts_of(std::bind_front(f)) == both);
  CHECK(texts_of(std::bind_front(second, 1)) == both);
  CHECK(texts_of(std::bind_front(&device::changing, &d)) == both);
  CHECK(texts_of(std::bind_front(std::mem_fn(&device::plain)), &d) == both);
  CHECK(texts_of(std::ref(second), 1) == both);
}

TEST_CASE("an argument of a generic callable is stored as its parameter's type where that is not deduced",
          "[submit][arguments]") {
  CHECK(texts_of([](auto, const std::string& s) -> text { co_yield s; co_yield s; }, 1) == both);
  CHECK(texts_of([](auto&& n, const auto& m, const std::string& s) -> text {
          for (int i = 0; i < n + m; ++i) co_yield s;
        }, 1, 1L) == both);
  CHECK(texts_of([](auto n, const std::string& s) { return n == 1 ? twice(s) : twice("no"); }, 1) == both);
  CHECK(texts_of([](const auto& n, const std::string& s) { return n == 1 ? twice(s) : twice("no"); }, dg::put(1)) == both);
  // An argument for a deduced parameter is not converted.
  CHECK(texts_of([](auto s) -> text { co_yield s; co_yield s; }) == std::vector<std::string>{"another text", "another text"});

  // Finding the parameter types of overloads instantiates only the overload that is called.
  dg::inline_executor here;
  CHECK(dg::on(here).submit(overloaded(), 1).get() == 2);
  CHECK(dg::on(here).submit(overloaded(), std::string("s")).next_value() == "s");
}

TEST_CASE("an argument of an actor's method is stored as the parameter's type", "[actor][arguments]") {
  support::watchdog dog("methods with texts");
  dg::thread_pool pool(1);
  auto at = pool.make_actor<device>();
  support::gate open;
  auto first = at.submit([&](device&) { open.pass(); });
  char array[80];
  std::strcpy(array, full_text);
  auto plain = at.submit(&device::plain, array);
  auto by_lambda = at.submit([](device&, const std::string& s) { return twice(s); }, array);
  auto generic = at.submit([](auto&, const std::string& s) { return twice(s); }, array);
  std::strcpy(array, "another text");
  open.open();
  for (auto* stream : {&plain, &by_lambda, &generic})
    for (int i = 0; i < 2; ++i) CHECK(stream->next_value() == full_text);
}

TEST_CASE("a value of another type than the parameter's is converted once, and lives as long as the task",
          "[submit][arguments]") {
  const auto views = [](const std::string& s, const long& n) -> text {
    for (long i = 0; i < n; ++i) co_yield s;
  };
  dg::manual_executor manual;
  std::string owner = full_text;
  dg::promise<const char*> view;
  dg::promise<int> number;
  auto by_ref = dg::on(manual).submit(views, view.get_ref(), number.get_ref());
  auto given_up = dg::on(manual).submit(views, dg::consume(dg::put(owner.c_str())), dg::consume(dg::put(2)));
  auto again = dg::on(manual).options(dg::max_retries{1}).submit(views, view.get_ref(), number.get_ref());
  view.set_value(owner.c_str());
  number.set_value(2);
  manual.run_all();
  for (auto* stream : {&by_ref, &given_up, &again})
    for (int i = 0; i < 2; ++i) CHECK(stream->next_value() == full_text);

  int three = 3;  // a long must be made of it
  auto wrapped = dg::on(manual).submit([](const long& n) -> dg::generator<long> {
    co_yield n;
    co_yield n;
  }, std::ref(three));
  three = 4;
  manual.run_all();
  for (int i = 0; i < 2; ++i) CHECK(wrapped.next_value() == 3);
  auto itself = dg::on(manual).submit([](const int& n) { return n; }, std::ref(three));  // needs no conversion
  three = 5;
  manual.run_all();
  CHECK(itself.get() == 5);
}

}  // namespace test_callables
