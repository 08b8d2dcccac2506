// SPDX-License-Identifier: MIT
// How arguments are stored and passed, and what is known about a callable: decided, and so checked, at compile time.

#include "../catch.hpp"
#include "../support.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace test_arguments {

namespace {

using namespace dyngen::detail;

// --- the known parameters of a callable ---

template <class F, class... P>
constexpr bool takes = [] {
  if constexpr (signature<F>::known)
    return std::is_same_v<typename signature<F>::types, std::tuple<P...>> && signature<F>::count == sizeof...(P);
  else
    return false;
}();

struct object {
  int plain(int, const std::string&);
  int constant(double) const;
  int on_lvalue() &;
  int on_rvalue(char) &&;
  int sure(int) noexcept;
  int sure_constant(int) const noexcept;
  int volatile_too(int) const volatile&& noexcept;
  int variadic_too(const char*, ...) volatile;
  int data = 0;
};
struct functor {
  int operator()(const std::string&, int) const { return 1; }
};
struct mutable_functor {
  int operator()(std::vector<int>&&) noexcept { return 1; }
};
struct overloaded {
  int operator()(int) const { return 1; }
  int operator()(const std::string&) const { return 2; }
};
struct inherits : functor {};
struct volatile_functor {
  int operator()(const std::string&, ...) const volatile&& noexcept { return 1; }
};
inline constexpr auto generic = [](auto&&...) {};
inline constexpr auto lambda = [](const std::string&, int&) {};
inline constexpr auto changing = [i = 0](int) mutable { return ++i; };

static_assert(takes<void (*)()>);
static_assert(takes<int (*)(const std::string&, int), const std::string&, int>);
static_assert(takes<int (*)(int) noexcept, int>);
static_assert(takes<functor, const std::string&, int>);
static_assert(takes<mutable_functor, std::vector<int>&&>);
static_assert(takes<std::remove_cv_t<decltype(lambda)>, const std::string&, int&>);
static_assert(takes<std::remove_cv_t<decltype(changing)>, int>);
static_assert(!signature<overloaded>::known);
static_assert(!signature<std::remove_cv_t<decltype(generic)>>::known);
static_assert(!signature<int>::known);
static_assert(!signature<int object::*>::known);

// Whatever its qualifiers are, and with parameters of C behind.
static_assert(takes<int (*)(const char*, ...) noexcept, const char*>);
static_assert(takes<inherits, const std::string&, int>);
static_assert(takes<volatile_functor, const std::string&>);
static_assert(takes<std::reference_wrapper<const functor>, const std::string&, int>);
static_assert(takes<std::function<int(const std::string&)>, const std::string&>);
static_assert(takes<decltype(std::bind_front(functor(), "text")), int>);
static_assert(takes<decltype(std::bind_front(&object::plain, nullptr)), int, const std::string&>);
static_assert(takes<decltype(std::bind_front(&object::plain, nullptr, 1)), const std::string&>);
static_assert(takes<decltype(std::mem_fn(&object::plain)), any_object, int, const std::string&>);

// A template, for one call: the parameters that are not deduced.
template <class F, class... Args>
using in_call = decltype(signature_in_call<std::remove_cvref_t<F>, Args...>());
template <class Signature, class... P>
constexpr bool knows = std::is_same_v<typename Signature::types, std::tuple<P...>>;
inline constexpr auto half = [](auto, const std::string&) -> dg::generator<int> { co_return; };
inline constexpr auto returns_auto = [](auto x, const std::string& s) { return x + static_cast<int>(s.size()); };
inline constexpr auto forwards = [](auto&& x, const std::string&, const auto& y, const double&) { return x + y; };
inline constexpr auto many = [](const std::string&, auto&&... x) { return (x + ...); };
inline constexpr auto all_deduced = [](auto x, auto y) { return x + y; };
struct defaulted {
  template <class T = int>
  auto operator()(const std::string&) const { return T{1} + 1; }
};
static_assert(knows<in_call<decltype(half), int, const char*>, int, const std::string&>);
static_assert(knows<in_call<decltype(half), dg::ref<int>, const char*>, int, const std::string&>);
static_assert(knows<in_call<decltype(returns_auto), int, const char (&)[3]>, int, const std::string&>);
static_assert(knows<in_call<decltype(forwards), int&, const char (&)[3], long, int>, int&&, const std::string&,
                    const long&, const double&>);
static_assert(knows<in_call<decltype(many), const char (&)[3], long, int>, const std::string&, long&&, int&&>);
static_assert(knows<in_call<defaulted, const char*>, const std::string&>);
static_assert(knows<in_call<decltype(std::bind_front(half, 1)), const char*>, const std::string&>);
static_assert(!in_call<decltype(all_deduced), int, long>::known);
static_assert(!in_call<decltype(generic), int, long>::known);
static_assert(!in_call<overloaded, const char*>::known);
// Overloads that are not called are not instantiated.
template <class... F>
struct overload : F... {
  using F::operator()...;
};
inline constexpr auto with_text = [](const std::string& s) { return s.size(); };
inline constexpr auto with_member = [](auto x) { return x.member; };
static_assert(!in_call<overload<std::remove_const_t<decltype(with_text)>, std::remove_const_t<decltype(with_member)>>,
                       std::string>::known);

// The object of a member function is the first argument, and nothing is assumed about its type.
template <class M, class... P>
constexpr bool member_takes = takes<M, any_object, P...>;
static_assert(member_takes<decltype(&object::plain), int, const std::string&>);
static_assert(member_takes<decltype(&object::constant), double>);
static_assert(member_takes<decltype(&object::on_lvalue)>);
static_assert(member_takes<decltype(&object::on_rvalue), char>);
static_assert(member_takes<decltype(&object::sure), int>);
static_assert(member_takes<decltype(&object::sure_constant), int>);
static_assert(member_takes<decltype(&object::volatile_too), int>);
static_assert(member_takes<decltype(&object::variadic_too), const char*>);

template <class F, std::size_t I>
using parameter = typename decltype(parameter_type<signature<F>, I>())::type;
static_assert(std::is_same_v<parameter<functor, 0>, const std::string&>);
static_assert(std::is_same_v<parameter<functor, 1>, int>);
static_assert(std::is_void_v<parameter<functor, 2>>);
static_assert(std::is_void_v<parameter<overloaded, 0>>);

// --- how one argument is stored ---

template <class A, class P>
using stored = typename decltype(storage_for<A, P>())::type;
template <class A, class P, class T>
constexpr bool stored_as = std::is_same_v<stored<A, P>, plain_argument<T>>;

struct base {
  base() = default;
  base(int) {}
};
struct derived : base {};
struct abstract {
  virtual ~abstract() = default;
  virtual void f() = 0;
};
struct concrete : abstract {
  void f() override {}
};
struct throwing_end {
  throwing_end(int) {}
  ~throwing_end() noexcept(false) {}
};

// Decayed, where the parameter is unknown or takes a value.
static_assert(stored_as<int&, void, int>);
static_assert(stored_as<const std::string&, void, std::string>);
static_assert(stored_as<const char (&)[5], void, const char*>);
static_assert(stored_as<int (&)(int), void, int (*)(int)>);
static_assert(stored_as<const char (&)[5], std::string, const char*>);
static_assert(stored_as<int, long, int>);
// As the parameter's type, where a reference would be bound to a temporary.
static_assert(stored_as<const char (&)[5], const std::string&, std::string>);
static_assert(stored_as<const char (&)[5], std::string&&, std::string>);
static_assert(stored_as<int, const long&, long>);
static_assert(stored_as<std::vector<int>&, const std::vector<int>&, std::vector<int>>);
static_assert(stored_as<const char*, const std::string_view&, std::string_view>);
static_assert(stored_as<int, const throwing_end&, throwing_end>);
// Not converted: a mutable reference, a base, an abstract class, an inconvertible argument, a reference_wrapper.
static_assert(stored_as<int, long&, int>);
static_assert(stored_as<derived, const base&, derived>);
static_assert(stored_as<concrete, const abstract&, concrete>);
static_assert(stored_as<std::string, const std::vector<int>&, std::string>);
static_assert(stored_as<std::reference_wrapper<int>, const int&, std::reference_wrapper<int>>);
static_assert(stored_as<std::reference_wrapper<int>, int&, std::reference_wrapper<int>>);
static_assert(stored_as<std::reference_wrapper<derived>, const base&, std::reference_wrapper<derived>>);
// A reference_wrapper whose object must be converted is no longer one.
static_assert(stored_as<std::reference_wrapper<int>, const long&, long>);

// Refs: the value is passed, unless the known parameter is a ref, or the caller uses unresolved().
static_assert(std::is_same_v<stored<dg::ref<int>, void>, resolved_argument<int>>);
static_assert(std::is_same_v<stored<dg::ref<int>&, int>, resolved_argument<int>>);
static_assert(std::is_same_v<stored<const dg::ref<int>&, const int&>, resolved_argument<int>>);
static_assert(stored_as<dg::ref<int>&, dg::ref<int>, dg::ref<int>>);
static_assert(stored_as<dg::ref<int>, const dg::ref<int>&, dg::ref<int>>);
static_assert(std::is_same_v<stored<dg::ref<int>, dg::ref<long>>, resolved_argument<int>>);
static_assert(std::is_same_v<stored<dg::ref<void>&, void>, resolved_argument<void>>);
// Their value is converted where a reference would be bound to a temporary.
static_assert(std::is_same_v<stored<dg::ref<int>, const long&>, converted_argument<resolved_argument<int>, long>>);
static_assert(std::is_same_v<stored<dg::consumed_ref<int>, long&&>, converted_argument<consumed_argument<int>, long>>);
static_assert(std::is_same_v<stored<dg::ref<derived>, const base&>, resolved_argument<derived>>);
static_assert(std::is_same_v<stored<dg::ref<std::string>, const int&>, resolved_argument<std::string>>);
static_assert(stored_as<dg::unresolved_ref<int>, void, dg::ref<int>>);
static_assert(std::is_same_v<stored<dg::consumed_ref<int>, void>, consumed_argument<int>>);
static_assert(stored_as<std::vector<dg::ref<int>>&, void, std::vector<dg::ref<int>>>);

// --- the parameter of each argument ---

template <class F, class... Args>
using all_stored = typename stored_arguments<F, std::index_sequence_for<Args...>, Args...>::type;
using two = int (*)(const std::string&, const long&);
static_assert(std::is_same_v<all_stored<void (*)()>, std::tuple<>>);
static_assert(std::is_same_v<all_stored<two, const char*, int>, std::tuple<plain_argument<std::string>, plain_argument<long>>>);
static_assert(std::is_same_v<all_stored<two, dg::ref<void>, const char*, dg::ref<void>&, int>,
                             std::tuple<resolved_argument<void>, plain_argument<std::string>, resolved_argument<void>,
                                        plain_argument<long>>>);
static_assert(std::is_same_v<all_stored<decltype(&object::plain), object&, int, const char*>,
                             std::tuple<plain_argument<object>, plain_argument<int>, plain_argument<std::string>>>);
static_assert(std::is_same_v<all_stored<overloaded, const char*>, std::tuple<plain_argument<const char*>>>);
// More arguments than parameters: the library reports this, not the compiler.
static_assert(std::is_same_v<all_stored<void (*)(), int>, std::tuple<plain_argument<int>>>);

// --- the result of the call ---

template <class F, class... Args>
using result = call_result<F, all_stored<F, Args...>>;
static_assert(result<two, const char*, int>::is_invocable && std::is_same_v<result<two, const char*, int>::type, int>);
static_assert(result<two, dg::ref<std::string>, dg::ref<void>, dg::ref<long>>::is_invocable);
static_assert(!result<two, const char*>::is_invocable);
static_assert(!result<void (*)(int&), int>::is_invocable);
static_assert(result<void (*)(int&), std::reference_wrapper<int>>::is_invocable);
static_assert(!result<void (*)(int&), dg::ref<int>>::is_invocable);
static_assert(result<void (*)(int&&), dg::consumed_ref<int>>::is_invocable);
static_assert(!result<void (*)(int&&), dg::ref<int>>::is_invocable);
static_assert(result<void (*)(std::unique_ptr<int>), std::unique_ptr<int>>::is_invocable);
static_assert(result<int object::*, object>::is_invocable);
static_assert(std::is_same_v<result<overloaded, int>::type, int>);

// --- arguments that can be stored ---

static_assert(can_be_stored<plain_argument<std::string>, const char*>);
static_assert(can_be_stored<plain_argument<std::unique_ptr<int>>, std::unique_ptr<int>>);
static_assert(!can_be_stored<plain_argument<std::unique_ptr<int>>, std::unique_ptr<int>&>);
static_assert(can_be_stored<plain_argument<throwing_end>, throwing_end&>);
static_assert(can_be_stored<plain_argument<dg::ref<int>>, dg::unresolved_ref<int>>);
static_assert(can_be_stored<resolved_argument<int>, dg::ref<int>&>);
static_assert(!can_be_stored<plain_argument<dg::ref_stream<int>>, dg::ref_stream<int>&>);

}  // namespace

TEST_CASE("each kind of argument is passed as it should be", "[arguments]") {
  plain_argument<std::string> plain("text");
  static_assert(std::is_same_v<decltype(plain.pass()), std::string&&>);
  CHECK(plain.pass() == "text");

  const dg::ref<int> seven = dg::put(7);
  const resolved_argument<int> resolved(seven);
  static_assert(std::is_same_v<decltype(resolved.pass()), const int&>);
  CHECK(&resolved.pass() == &seven.get());

  dg::ref<std::unique_ptr<int>> owned = dg::put(std::make_unique<int>(8));
  const auto storage = std::make_unique<consumed_argument<std::unique_ptr<int>>>(dg::consume(std::move(owned)));
  consumed_argument<std::unique_ptr<int>>& consumed = *storage;
  static_assert(std::is_same_v<decltype(consumed.pass()), std::unique_ptr<int>&&>);
  CHECK(*consumed.pass() == 8);
  CHECK_FALSE(owned.valid());
}

TEST_CASE("a bound call passes its values in order, and lists the refs that it waits for", "[arguments]") {
  const auto f = [](int a, const std::string& b, const dg::ref<int>& c) { return std::to_string(a) + b + std::to_string(c.get()); };
  using call = std::remove_cv_t<decltype(f)>;
  dg::ref<int> one = dg::put(1), three = dg::put(3);
  dg::ref<void> done = one.completion();
  using terms = dg::detail::call_terms<std::tuple<dg::ref<void>>, dg::detail::no_retry, dg::detail::no_stop_link>;
  bound_call<call, all_stored<call, dg::ref<int>&, dg::ref<void>&, const char (&)[4], dg::ref<int>&>, terms>
      bound(terms{std::tuple<dg::ref<void>>(done), {}, {}}, f, one, done, "two", three);
  static_assert(decltype(bound)::dependencies == 3);
  int visited = 0;
  bound.for_each_dependency([&](slot& s) {
    ++visited;
    CHECK((&s == access::slot_of(one) || &s == access::slot_of(done)));
  });
  CHECK(visited == 3);
  CHECK(bound() == "1two3");
}

}  // namespace test_arguments
