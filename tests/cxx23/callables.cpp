// SPDX-License-Identifier: MIT
// The callables that C++23 adds, static operator() and explicit object parameters: an argument is stored as the type of
// the parameter it is for. As in tests/semantics/callables.cpp, the text is in an array that is overwritten before the
// task begins. Built and run by check.py, where the compiler knows them.

#include <dyngen/dyngen.hpp>

#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace dg = dyngen;

namespace {

const char* const full_text = "a text that is long enough to be on the heap of this program";

using text = dg::generator<std::string>;

text twice(const std::string& s) {
  co_yield s;
  co_yield s;
}

int passed = 0;
int failed = 0;

template <class F, class... Before>
void check(const char* name, F&& f, Before&&... before) {
  dg::manual_executor manual;
  char array[80];
  std::strcpy(array, full_text);
  auto stream = dg::on(manual).submit(std::forward<F>(f), std::forward<Before>(before)..., array);
  std::strcpy(array, "another text");
  manual.run_all();
  int good = 0;
  for (std::string&& s : stream.values()) good += s == full_text;
  ++(good == 2 ? passed : failed);
  std::printf("%s %s\n", good == 2 ? "ok    " : "FAILED", name);
}

struct static_call {
  static text operator()(const std::string& s) { return twice(s); }
};
struct explicit_object {
  int n = 1;
  text operator()(this const explicit_object& self, const std::string& s) { return self.n == 1 ? twice(s) : twice("no"); }
};
struct by_value {
  text operator()(this by_value, const std::string& s) { return twice(s); }
};
struct of_base : explicit_object {};
struct generic_object {
  template <class Self>
  text operator()(this Self&&, const std::string& s) { return twice(s); }
};
struct takes_itself {  // no explicit object parameter: an ordinary first parameter
  static text operator()(const takes_itself&, const std::string& s) { return twice(s); }
};
struct with_method {
  text method(this const with_method&, const std::string& s) { return twice(s); }
};
struct unmovable {
  unmovable(int) {}
  unmovable(const unmovable&) = delete;
};

using namespace dg::detail;
template <class F, class... P>
constexpr bool takes = std::is_same_v<typename signature<F>::types, std::tuple<P...>>;
struct static_unmovable {
  static int operator()(unmovable, const std::string&);
};
struct explicit_unmovable {
  int operator()(this explicit_unmovable, unmovable, const std::string&);
};
static_assert(takes<static_unmovable, unmovable, const std::string&>);
static_assert(takes<explicit_unmovable, unmovable, const std::string&>);
static_assert(takes<takes_itself, const takes_itself&, const std::string&>);

}  // namespace

int main() {
  [[maybe_unused]] const int n = 1;
  check("static operator()", static_call());
  check("explicit object parameter", explicit_object());
  check("explicit object parameter by value", by_value());
  check("explicit object parameter of a base", of_base());
  check("explicit object parameter that is deduced", generic_object());
  check("static operator() with an object of its class first", takes_itself(), takes_itself());
  check("method with an explicit object parameter", &with_method::method, with_method());
  check("static lambda", [](const std::string& s) static -> text { co_yield s; co_yield s; });
  check("static lambda, generic", [](auto, const std::string& s) static -> text { co_yield s; co_yield s; }, 1);
  check("this auto", [n](this auto, const std::string& s) -> text { for (int i = 0; i <= n; ++i) co_yield s; });
  check("this auto&&", [n](this auto&&, const std::string& s) -> text { for (int i = 0; i <= n; ++i) co_yield s; });
  check("this const auto&", [n](this const auto&, const std::string& s) { return n == 1 ? twice(s) : twice("no"); });
  check("this auto, generic", [n](this auto, auto, const std::string& s) { return n == 1 ? twice(s) : twice("no"); }, 1);
  check("this auto&&, generic, a ref", [n](this auto&&, const auto&, const std::string& s) { return n == 1 ? twice(s) : twice("no"); }, dg::put(1));
  const static_call by_ref;
  check("std::cref of a static operator()", std::cref(by_ref));
  check("std::bind_front of an explicit object parameter",
        std::bind_front([n](this const auto&, int, const std::string& s) { return n == 1 ? twice(s) : twice("no"); }, 1));
  std::printf("cases: %d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
