// SPDX-License-Identifier: MIT
// Linked into the tests under -fsanitize=thread only.
//
// The C++ runtime counts the owners of an exception object in code that ThreadSanitizer does not see. When threads
// share an exception through std::exception_ptr, it therefore misses that the last owner's release happens after all
// others, and reports the object's destruction as a race with what() in another thread. Here the three functions that
// give up an owner are put in front of the runtime's and take one lock that ThreadSanitizer does see. The lock is
// recursive: destroying an exception may give up another one that it holds.

#include <dlfcn.h>
#include <pthread.h>

namespace {

pthread_mutex_t release_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

class locked {
 public:
  locked() noexcept { pthread_mutex_lock(&release_lock); }
  locked(const locked&) = delete;
  locked& operator=(const locked&) = delete;
  ~locked() { pthread_mutex_unlock(&release_lock); }
};

template <class Function>
Function* in_runtime(const char* symbol) noexcept {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, symbol));
}

}  // namespace

// The end of a catch handler.
extern "C" void __cxa_end_catch() {
  static const auto runtime = in_runtime<void()>("__cxa_end_catch");
  const locked lock;
  runtime();
}

// std::exception_ptr's destructor and assignment in libstdc++.
extern "C" void release_exception_pointer(void* self) __asm__("_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv");
extern "C" void release_exception_pointer(void* self) {
  static const auto runtime = in_runtime<void(void*)>("_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv");
  const locked lock;
  runtime(self);
}

// The same in libc++abi.
extern "C" void __cxa_decrement_exception_refcount(void* object) {
  static const auto runtime = in_runtime<void(void*)>("__cxa_decrement_exception_refcount");
  const locked lock;
  runtime(object);
}
