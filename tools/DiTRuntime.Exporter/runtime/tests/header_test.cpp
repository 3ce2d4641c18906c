// The header from C++: opens a model and says what it is.
#include "dit.h"

#include <cstdio>

int main(int count, char** words) {
    if (count != 2) return 2;
    dit_options options;
    dit_options_init(&options);
    dit_context* context = nullptr;
    const dit_status status = dit_open(words[1], &options, &context);
    if (status != DIT_OK) {
        std::fprintf(stderr, "%s\n", dit_status_name(status));
        return status;
    }
    dit_info info;
    dit_info_init(&info);
    dit_get_info(context, &info);
    std::printf("%s: %u pixels a side, %s\n", dit_version(), info.image_size, dit_describe(context));
    dit_close(context);
    return info.image_size > 0 ? 0 : 1;
}
