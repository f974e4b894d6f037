// Exceptions through frames and threads, thread-local objects, std's threads, futures and file systems.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::mutex lock;
static int destroyed;

struct Local {
    std::string text{"thread"};
    ~Local() { std::lock_guard<std::mutex> held(lock); destroyed++; }
};
static thread_local Local local;

struct Guard {
    int &count;
    ~Guard() { count++; }
};

static int deep(int n, int &unwound)
{
    Guard guard{unwound};
    if (n == 0)
        throw std::runtime_error("bottom");
    return deep(n - 1, unwound) + 1;
}

int main()
{
    int unwound = 0;
    try {
        deep(500, unwound);
    } catch (const std::exception &error) {
        std::cout << error.what() << ' ' << unwound << '\n';
    }
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; i++)
        threads.emplace_back([i] { local.text += std::to_string(i); });
    for (auto &thread : threads)
        thread.join();
    std::cout << "destroyed " << destroyed << '\n';
    auto failing = std::async(std::launch::async, [] () -> int { throw std::out_of_range("far"); });
    try {
        failing.get();
    } catch (const std::out_of_range &error) {
        std::cout << "from a thread: " << error.what() << '\n';
    }
    std::vector<std::future<long>> parts;
    for (long part = 0; part < 4; part++)
        parts.push_back(std::async(std::launch::async, [part] {
            std::vector<long> values(10000);
            std::iota(values.begin(), values.end(), part * 10000);
            return std::accumulate(values.begin(), values.end(), 0L);
        }));
    long sum = 0;
    for (auto &part : parts)
        sum += part.get();
    std::cout << "sum " << sum << '\n';
    namespace fs = std::filesystem;
    fs::path folder = fs::temp_directory_path() / "exceptions-test";
    fs::create_directories(folder / "a" / "b");
    std::ofstream(folder / "a" / "file") << "content";
    fs::copy(folder / "a", folder / "c", fs::copy_options::recursive);
    size_t entries = 0;
    for (auto &entry : fs::recursive_directory_iterator(folder))
        entries += entry.exists();
    std::cout << "entries " << entries << " size " << fs::file_size(folder / "c" / "file") << '\n';
    fs::remove_all(folder);
    std::error_code code;
    fs::file_size(folder, code);
    std::cout << code.message() << '\n';
    std::random_device device;
    std::cout << "random " << (device() != device() || device() != device()) << '\n';
    std::cout << std::regex_replace("a-b-c", std::regex("-(.)"), "+$1") << '\n';
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return 0;
}
